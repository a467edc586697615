"""Which job does a row mean? A row of a table, rendered or as it stands, as the fields of a job line."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from worker.documents.templates import is_blank, listed, nearest, written
from worker.errors import Problem

_TEXTS = frozenset({"prompt", "system", "template", "suffix", "model", "custom_id", "priority", "deadline"})
"""Fields of a job line that are text; a cell of any other is read as JSON where it is JSON."""


def column_problems(
    columns: Collection[str],
    *,
    templated: bool,
    id_column: str | None,
    image_columns: Collection[str] = (),
) -> list[Problem]:
    """Why no row of a table with these columns can be a job: no prompt, or no column of a name given as ``--id`` or
    ``--image``."""
    problems = []
    if not templated and "prompt" not in columns:
        message = f"no column named prompt; say how a prompt is made of {listed(columns, as_written=False)}: {_example(columns)}"
        problems.append(Problem(0, "prompt", "no_prompt", message))
    if id_column is not None and id_column not in columns:
        message = f"--id: no column {id_column!r}; {nearest(id_column, columns, as_written=False)}"
        problems.append(Problem(0, id_column, "missing_column", message))
    for name in image_columns:
        if name not in columns:
            message = f"--image: no column {name!r}; {nearest(name, columns, as_written=False)}"
            problems.append(Problem(0, name, "missing_column", message))
    return problems


def job_values(
    values: Mapping[str, Any],
    *,
    prompt: str | None,
    system: str | None,
    id_column: str | None,
    reserved: Collection[str],
    override: bool = False,
) -> dict[str, Any]:
    """A row as the fields of a job line (``prompt``, ``system``, ``custom_id``, ``metadata`` …).

    With a rendered ``prompt`` every column becomes metadata, whatever its name, the id's only where it is no text. Without
    one (None) the columns named in ``reserved`` are the job's own fields, an empty cell of them not given, and the others
    metadata.
    ``system`` is for rows that have none of their own, with ``override`` for all.
    An id that is empty stays, as an empty ``custom_id``, for the reader of job lines to refuse.
    """
    job: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    for column, value in values.items():
        if column == id_column:
            if not isinstance(value, str | None) and column != "custom_id":
                metadata[column] = value  # an id is a text: here it keeps its type
            continue
        if prompt is None and column in reserved:
            if not is_blank(value):
                job[column] = _field(column, value)
        else:
            metadata[column] = value
    if prompt is not None:
        job["prompt"] = prompt
    elif "prompt" not in job and "prompt" in reserved:
        job["prompt"] = ""  # refused as blank, by its line
    if system is not None and (override or not job.get("system")):
        job["system"] = system
    if id_column is not None:
        job["custom_id"] = _id(values.get(id_column))
    if metadata:
        own = job.get("metadata")
        if own is None or isinstance(own, dict):
            job["metadata"] = metadata | (own or {})
    return job


def as_embed(job: dict[str, Any]) -> None:
    """Make the job a text to be embedded: its prompt, unless it has an input of its own.

    >>> job = {"prompt": "A cat.", "custom_id": "a"}
    >>> as_embed(job)
    >>> job
    {'custom_id': 'a', 'kind': 'embed', 'input': 'A cat.'}
    """
    prompt = job.pop("prompt", "")
    job["kind"] = "embed"
    job.setdefault("input", prompt)


def as_chat(job: dict[str, Any]) -> None:
    """Make the job a chat: its prompt is the message of a user, its system prompt the first message.

    >>> job = {"prompt": "Why?", "system": "Be brief."}
    >>> as_chat(job)
    >>> job
    {'messages': [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'Why?'}]}
    """
    prompt, system = job.pop("prompt", ""), job.pop("system", None)
    messages = job.pop("messages", None) or [{"role": "user", "content": prompt}]
    images = job.pop("images", None)
    if images and isinstance(messages, list) and isinstance(messages[-1], dict):
        messages = [*messages[:-1], {**messages[-1], "images": [*messages[-1].get("images", ()), *images]}]
    if system and isinstance(messages, list) and not _has_system(messages):
        messages = [{"role": "system", "content": system}, *messages]
    job["messages"] = messages


def _has_system(messages: list[Any]) -> bool:
    return bool(messages) and isinstance(messages[0], dict) and messages[0].get("role") == "system"


def _field(name: str, value: Any) -> Any:
    if name == "custom_id":
        return _id(value)
    if name in _TEXTS or not isinstance(value, str):
        return value
    text = value.strip()
    try:
        return json.loads({"TRUE": "true", "FALSE": "false"}.get(text.upper(), text))
    except ValueError:
        return text


def _id(value: Any) -> str:
    """An id as text; a whole number that a table holds with a point (12.0) without it."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value).strip()


def _example(columns: Collection[str]) -> str:
    column = next(iter(columns), "text")
    return f"--prompt '{{{{ {written(column)} }}}}'"
