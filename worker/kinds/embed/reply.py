"""The reply of ``POST /api/embed`` → a vector and a share of what it took for each text."""

from collections.abc import Sequence
from typing import Any

from pydantic_core import from_json

from worker.records import record
from worker.replies import bounds
from worker.replies.stream import ObjectReader
from worker.replies.timings import seconds
from worker.replies.vectors import pack_vector, vector_problem
from worker.replies.wording import bad_reply


@record
class Vectors:
    """Of each text its vector, packed, or what is wrong with it; tokens and nanoseconds of all together."""

    vectors: Sequence[bytes | str]
    tokens: int
    total_duration: int
    load_duration: int


class VectorsReader:
    """A body that is one JSON object with as many vectors as texts were sent."""

    chunks = None
    partial = ""

    def __init__(self, texts: int) -> None:
        # a list for each text, which is no depth
        self._object = ObjectReader(
            limit=bounds.REPLY_BYTES,
            depth=bounds.JSON_DEPTH + texts,
            loads=from_json,  # reads numbers in half the time
        )
        self._texts = texts

    def feed(self, data: bytes) -> None:
        self._object.feed(data)

    def end(self) -> Vectors:
        """Raises HostError for anything else."""
        answer = self._object.end()
        numbers = answer.get("embeddings")
        if not isinstance(numbers, list) or len(numbers) != self._texts:
            count = len(numbers) if isinstance(numbers, list) else "no"
            raise bad_reply(f"{count} vectors for {self._texts} texts", b"")
        if not all(isinstance(vector, list) and vector for vector in numbers):
            raise bad_reply("a vector that is no list of numbers", b"")
        if len({len(vector) for vector in numbers}) > 1:
            raise bad_reply("vectors of several lengths", b"")
        return Vectors(
            [_packed(vector) for vector in numbers],  # the lists go at once: they are many objects
            _whole(answer.get("prompt_eval_count")),
            _whole(answer.get("total_duration")),
            _whole(answer.get("load_duration")),
        )


def _packed(numbers: Sequence[Any]) -> bytes | str:
    try:
        return vector_problem(numbers) or pack_vector(numbers)
    except (TypeError, OverflowError):
        return "the vector holds something that is no number of float32"


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62 else 0


def shares(whole: int, weights: Sequence[int]) -> list[int]:
    """``whole`` shared out by ``weights``, which are positive; the sum is kept.

    >>> shares(10, [1, 1, 1]), shares(4, [7])
    ([3, 3, 4], [4])
    """
    total, shared, sum_so_far = sum(weights), 0, 0
    parts = []
    for weight in weights:
        sum_so_far += weight
        part = whole * sum_so_far // total - shared
        shared += part
        parts.append(part)
    return parts


def common_values(vectors: Vectors, *, cut: bool) -> dict[str, Any]:
    """The fields that the results of all texts of a call share: all but ``prompt_tokens`` and ``embedding``. ``cut``: the host
    was allowed to cut texts, and says nothing of that."""
    texts = len(vectors.vectors)
    total, load = vectors.total_duration // texts, vectors.load_duration // texts
    reading = max(0, total - load)
    return {
        "answer": "",
        "reasoning": None,
        "reasoning_open": False,
        "done_reason": None,
        "cut": False,
        "prompt_fit": "unknown" if cut else "yes",
        "output_tokens": 0,
        "tokens_per_second": None,
        "prompt_tokens_per_second": None,
        "total_seconds": seconds(total),
        "load_seconds": seconds(load),
        "prompt_eval_seconds": seconds(reading),
        "eval_seconds": 0.0,
        "total_duration": total,
        "load_duration": load,
        "prompt_eval_duration": reading,
        "eval_duration": 0,
        "context": None,
    }
