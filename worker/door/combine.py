"""What is a job asked whose prompt is made of the answers of others? Its template, rendered once they are there."""

import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from worker.documents.templates import Template, prompt_template
from worker.domain.jobs import ClaimedJob, Part
from worker.errors import Code, HostError, InputRefused, Problem

_RENDERING = threading.Lock()
"""Templates are shared, and render for one thread at a time."""


@lru_cache(maxsize=32)
def _template(text: str) -> Template:
    return prompt_template(text, source="prompt")


def template_problem(prompt: str, values: Mapping[str, Any], *, line: int) -> Problem | None:
    """What is wrong with such a prompt, before any part is answered."""
    try:
        template = _template(prompt)
    except InputRefused as error:
        return Problem(line, "prompt", "template_syntax", error.problems[0].message)
    if "parts" not in template.variables:
        loop = "{% for part in parts %}{{ part.answer }}{% endfor %}"
        return Problem(line, "prompt", "no_variable", f"prompt: does not use the answers; write {loop}")
    missing = template.missing(["parts", *values])
    return Problem(line, "prompt", "missing_column", missing[0].message) if missing else None


def combined_prompt(job: ClaimedJob) -> str:
    """Its prompt as it is sent. Raises HostError, the job's fault: a part has no answer any more, or it does not render."""
    return filled(job.prompt, job.request["combine"], job.parts)


def filled(template: str, values: Mapping[str, Any], parts: Sequence[Part]) -> str:
    """The template with the answers of the parts. Raises HostError."""
    lost = [part.custom_id for part in parts if part.answer is None]
    if lost or not parts:
        message = f"no answer to {', '.join(lost[:5])}" if lost else "its parts are not there any more"
        raise HostError(Code.PARENT_FAILED, message)
    with _RENDERING:
        text = _template(template).render({**values, "parts": [_values(part) for part in parts]}, line=0)
    if isinstance(text, Problem):
        raise HostError(Code.INVALID_REQUEST, text.message)
    return text


def _values(part: Part) -> dict[str, Any]:
    """The values of a part for a template: its place, from its metadata, and its answer."""
    place = part.metadata.get("part")
    return {
        **(place if isinstance(place, dict) else {}),
        "custom_id": part.custom_id,
        "answer": part.answer,
        "parsed": part.parsed,
        "metadata": dict(part.metadata),
    }
