"""What is sent for a job with ``format``: at once, after free reasoning, or once more where the answer does not fit.

On ``/api/generate`` the grammar holds from the first token, and locks the reasoning in. So a job that is to reason
first is asked twice: without ``format``, then with it, carrying on from the context of the first reply. The host finds
that context in its prefix cache, where the runner options are the same.
"""

from collections.abc import Mapping
from typing import Any

REPAIRS = 2
"""Further tries for an answer that does not fit, where the job says nothing."""
FOR_ANSWER = 2048
"""Tokens of ``num_predict`` that reasoning leaves to the answer, or half of it where that is less."""
AS_JSON = "As JSON."


def reasons_first(body: Mapping[str, Any]) -> bool:
    """Whether a call without ``format`` goes before. A raw prompt, or one with a suffix, cannot be carried on from."""
    return bool(body.get("format") and body.get("think") and not body.get("raw") and not body.get("suffix"))


def reasoning_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The first of two calls: free, and so long that the answer has its share of ``num_predict`` left.

    The producer's ``stop`` is about the answer, and would end the reasoning.
    """
    options = {name: value for name, value in body["options"].items() if name != "stop"}
    options["num_predict"] = body["options"]["num_predict"] - _for_answer(body)
    return {name: value for name, value in body.items() if name != "format"} | {"options": options}


def constrained_body(
    body: Mapping[str, Any], *, context: tuple[int, ...] | None, said: str, used: int
) -> dict[str, Any]:
    """The second of two calls, after one that ``said`` something in ``used`` tokens.

    Images are not in a context, only marks for them; and a host may send none. The question is asked once more then,
    with what was said about it.
    """
    left = max(body["options"]["num_predict"] - used, _for_answer(body))
    if context and not body.get("images"):
        return _carried_on(body, context, AS_JSON, left)
    prompt = f"{body['prompt']}\n\n{said}\n\n{AS_JSON}" if said else body["prompt"]
    return at_once(body) | {"prompt": prompt, "options": {**body["options"], "num_predict": left}}


def at_once(body: Mapping[str, Any]) -> dict[str, Any]:
    """One call, constrained from its first token: nothing may be reasoned under a grammar."""
    return {**body, "think": False}


def repair_body(
    body: Mapping[str, Any],
    *,
    context: tuple[int, ...] | None,
    problem: str,
    cut: bool,
    nth: int,
) -> dict[str, Any] | None:
    """What is sent after ``body`` brought an answer that does not fit, for the ``nth`` time (from 1); None where a
    further try would bring the same.

    A complete answer is told what is wrong with it, and carried on from: its prefix is cached, and a model that is
    told changes its answer even at temperature 0. An answer that was cut is worth no telling: it is asked again, with
    another seed, and not at all where no chance is in it.
    """
    if context and not cut and not body.get("images") and not body.get("raw") and not body.get("suffix"):
        told = f"That does not fit: {problem}. Again, as JSON alone."
        return _carried_on(body, context, told, body["options"]["num_predict"])
    options = dict(body["options"])
    if options.get("temperature") == 0 or options.get("top_k") == 1:
        return None
    if "seed" in options:
        options["seed"] += nth
    return {**body, "options": options}


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


def _for_answer(body: Mapping[str, Any]) -> int:
    num_predict: int = body["options"]["num_predict"]
    return min(FOR_ANSWER, max(1, num_predict // 2))
