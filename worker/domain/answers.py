"""What is wrong with answers that hosts gave all the same: how many there are of each kind, and which are meant."""

from collections.abc import Mapping
from typing import Any

from worker.domain.replies import PromptFit
from worker.records import record


@record
class AnswerCounts:
    """Stored answers that somebody should look at. One answer may count in several fields."""

    cut: int = 0
    """Ended by num_predict or a full window."""
    empty: int = 0
    """Nothing but reasoning, or nothing at all."""
    unfit: int = 0
    """Given to a part of the prompt: ``prompt_fit`` is ``no``."""

    def __add__(self, other: "AnswerCounts") -> "AnswerCounts":
        return AnswerCounts(self.cut + other.cut, self.empty + other.empty, self.unfit + other.unfit)

    def __bool__(self) -> bool:
        return bool(self.cut or self.empty or self.unfit)


@record
class Weights:
    """Answers of a batch that the same weights of a model gave on one host."""

    model: str
    digest: str
    host: str
    answers: int


@record
class AnswerFilter:
    """Which jobs are meant by their stored answers: every condition that is set has to hold."""

    cut: bool = False
    """The answer was ended by num_predict or a full window."""
    empty: bool = False
    """The answer has nothing in it."""
    fits: frozenset[PromptFit] = frozenset()
    """``prompt_fit`` is one of these."""

    def __bool__(self) -> bool:
        return bool(self.cut or self.empty or self.fits)

    @property
    def stored(self) -> dict[str, Any]:
        """As plain JSON; empty where it says nothing."""
        values = {"cut": self.cut, "empty": self.empty, "fits": sorted(self.fits)}
        return {name: value for name, value in values.items() if value}

    @classmethod
    def parse(cls, stored: Mapping[str, Any]) -> "AnswerFilter":
        """What ``stored`` gave. Raises TypeError for a condition that this version does not know."""
        return cls(**{**stored, "fits": frozenset(stored.get("fits", ()))})


ANY_ANSWER = AnswerFilter()
"""Says nothing about answers: jobs without one are meant too."""
