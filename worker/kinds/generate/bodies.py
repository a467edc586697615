"""How a prompt goes on from what the model said: by the context of its reply."""

from collections.abc import Mapping
from typing import Any

from worker.domain.replies import Reply
from worker.kinds.structured import AS_JSON, at_once


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
