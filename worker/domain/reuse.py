"""When a stored answer is also the answer to another job.

When the same was asked of the same weights, and asking again would say the same: nothing is sampled, or the seed is
given. A producer may ask for any stored answer all the same.
"""

from collections.abc import Mapping
from typing import Any, Literal

from worker.domain.request_texts import digest, request_texts

Reuse = Literal[True, "any"]
"""What a producer asks for: answers that would come out the same again, or any."""

_VERSION = "1\0"
"""Raised where what is sent for a request changes, so that no answer to what was sent before is taken for it."""


def is_repeatable(request: Mapping[str, Any]) -> bool:
    """Whether a host that is asked this twice says the same: temperature 0, or a seed (a negative one means by chance).

    What the model itself may have set is not known here.

    >>> is_repeatable({"options": {"seed": 7}}), is_repeatable({"options": {"seed": -1}}), is_repeatable({})
    (True, False, False)
    """
    options = request.get("options") or {}
    seed, temperature = options.get("seed"), options.get("temperature")
    return (seed is not None and seed >= 0) or (temperature is not None and temperature <= 0)


def may_reuse(reuse: Reuse | bool | None, *, repeatable: bool) -> bool:
    """Whether a job may take a stored answer; ``repeatable``: a host that is asked it twice says the same.

    >>> may_reuse(True, repeatable=False), may_reuse("any", repeatable=False), may_reuse(None, repeatable=True)
    (False, True, False)
    """
    return reuse == "any" or (bool(reuse) and repeatable)


def reuse_key(runner_key: str, prompt: str, request: Mapping[str, Any], *, kind: str = "generate") -> bytes:
    """16 bytes, equal for jobs of which one may take the other's answer, if the same weights gave it.

    All that is asked is in it: the kind, the model, its load-time options and window (``runner_key``, as at intake), the prompt
    and every field of the request.
    """
    named = "" if kind == "generate" else f"{kind}\0"
    return digest(f"{_VERSION}{named}{runner_key}\0{prompt}\0{request_texts(request).identity}")
