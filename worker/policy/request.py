"""What is sent to a host for a job: the producer's fields, and what Caravan never leaves to a server's default."""

from collections.abc import Mapping
from typing import Any

from worker.domain.hosts import HostModel

NUM_PREDICT = 2048
NUM_PREDICT_THINKING = 8192
WHOLE_WINDOW = 131_072
"""Stands for "the rest of the window" where the window's length is not known: ``shift:false`` ends the answer there."""


def wire_request(
    model: str,
    prompt: str,
    request: Mapping[str, Any],
    host_model: HostModel | None,
    *,
    window: int | None = None,
    num_ctx: int | None = None,
) -> dict[str, Any]:
    """The body of ``POST /api/generate`` for one job, without ``stream``.

    - ``truncate`` and ``shift`` are false unless the producer asked otherwise: no silent truncation.
    - ``think`` is explicit: as asked, else true where the model can; false beside ``format``, where reasoning
      takes a call of its own (``policy.structured``).
    - ``num_predict`` is explicit and positive: 2,048, or 8,192 for a model that reasons; what the producer sets to
      0 or below means the rest of the window (a server would take ten windows, ``llm/server.go Completion``).
    - ``num_ctx`` is the window that is loaded, where the job names none: any other would reload the model.
    - ``keep_alive`` stays out: it is applied per run, a job's own 0 would reload the model for the next job.
    """
    body: dict[str, Any] = {"model": model, "prompt": prompt}
    body.update((name, value) for name, value in request.items() if name not in _NOT_SENT)
    body.setdefault("truncate", False)
    body.setdefault("shift", False)
    capable = host_model is not None and host_model.thinking
    if body.get("think") is None:
        body["think"] = capable and not body.get("format")
    options = dict(body.get("options") or {})
    if num_ctx is not None:
        options.setdefault("num_ctx", num_ctx)
    num_predict = options.get("num_predict")
    if num_predict is None:
        options["num_predict"] = NUM_PREDICT_THINKING if body["think"] else NUM_PREDICT
    elif num_predict <= 0:
        trained = host_model.trained_context if host_model is not None else None
        options["num_predict"] = options.get("num_ctx") or window or trained or WHOLE_WINDOW
    body["options"] = options
    return body


_NOT_SENT = frozenset({"keep_alive", "stream", "context_digest", "repairs", "combine", "allow_empty"})


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
