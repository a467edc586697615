"""What is sent to a host for a job: the producer's fields, and what Caravan never leaves to a server's default."""

from collections.abc import Mapping
from typing import Any

from worker.domain.hosts import HostModel
from worker.domain.replies import Reply
from worker.kinds.speech import explicit
from worker.kinds.structured import AS_JSON, at_once
from worker.policy.context_window import IMAGE_TOKENS, OVERHEAD, estimate_tokens

PATH = "/api/generate"


def wire_request(
    model: str,
    prompt: str,
    request: Mapping[str, Any],
    host_model: HostModel | None,
    *,
    window: int | None = None,
    num_ctx: int | None = None,
) -> dict[str, Any]:
    """The body of ``POST /api/generate`` for one job, without ``stream``; see ``kinds.speech.explicit``.

    ``keep_alive`` stays out: it is applied per run, a job's own 0 would reload the model for the next job.
    """
    body: dict[str, Any] = {"model": model, "prompt": prompt}
    body.update((name, value) for name, value in request.items() if name not in _LOCAL_FIELDS)
    return explicit(body, host_model, window=window, num_ctx=num_ctx)


_LOCAL_FIELDS = frozenset({"keep_alive", "stream", "context_digest", "repairs", "combine", "allow_empty"})


def context_problem(request: Mapping[str, Any], host_model: HostModel | None) -> str | None:
    """Why the job's ``context`` must not be sent to these weights, or None.

    A token id that the model does not have kills an older server with everything on it, so a context goes only to
    the weights it came from.
    """
    context = request.get("context")
    if not context:
        return None
    origin = request.get("context_digest")
    if origin is None:
        return "context: nothing says which weights it came from (context_digest)"
    if host_model is None:
        return "context: the weights of this host's model are not known"
    if origin != host_model.digest:
        return f"context: it came from weights {origin[:12]}, this model has {host_model.digest[:12]}"
    if host_model.vocabulary is not None and max(context) >= host_model.vocabulary:
        return (
            f"context: token id {max(context)}, this model's vocabulary ends at {host_model.vocabulary - 1}"
        )
    return None


def prompt_tokens(prompt: str, request: Mapping[str, Any]) -> int:
    """Tokens before the answer: prompt, system, the producer's own template, suffix, images and an earlier context."""
    tokens = OVERHEAD + estimate_tokens(prompt)
    if not request:
        return tokens
    for field in ("system", "template", "suffix"):
        if text := request.get(field):
            tokens += estimate_tokens(str(text))
    if context := request.get("context"):
        tokens += len(context)
    if images := request.get("images"):
        tokens += IMAGE_TOKENS * len(images)
    if request.get("format") and request.get("think"):
        tokens += OVERHEAD  # the template once more, around the request for JSON that follows the reasoning
    return tokens


class ContextTurns:
    """See ``kinds.structured.Turns``."""

    def constrained(
        self, body: Mapping[str, Any], reply: Reply, *, draft: str, budget: int
    ) -> dict[str, Any]:
        """Images are not in a context, only marks for them; and a host may send none. The question is asked once more
        then, with what the model wrote about it."""
        if reply.context and not body.get("images"):
            return _carried_on(body, reply.context, AS_JSON, budget)
        prompt = f"{body['prompt']}\n\n{draft}\n\n{AS_JSON}" if draft else body["prompt"]
        return at_once(body) | {"prompt": prompt, "options": {**body["options"], "num_predict": budget}}

    def correction(self, body: Mapping[str, Any], reply: Reply, *, message: str) -> dict[str, Any] | None:
        """Tells the model by its own context what is wrong."""
        if not reply.context or body.get("images") or body.get("raw") or body.get("suffix"):
            return None
        return _carried_on(body, reply.context, message, body["options"]["num_predict"])


def _carried_on(
    body: Mapping[str, Any], context: tuple[int, ...], prompt: str, num_predict: int
) -> dict[str, Any]:
    kept = {name: value for name, value in body.items() if name not in _IN_CONTEXT}
    return kept | {
        "prompt": prompt,
        "context": list(context),
        "think": False,
        "options": {**body["options"], "num_predict": num_predict},
    }


_IN_CONTEXT = frozenset({"prompt", "system", "context", "images"})
