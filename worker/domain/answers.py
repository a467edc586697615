"""What is wrong with answers that hosts gave all the same, and how many there are of each kind."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
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
