"""What is wrong with an input: the first problems, and how many more there are, however bad it is."""

from collections import Counter
from dataclasses import field

from worker.errors import MOST_ALIKE, InputRefused, Mistake, Problem
from worker.records import mutable_record

MOST_PROBLEMS = 20


@mutable_record
class Problems:
    """True where there are any."""

    first: list[Problem] = field(default_factory=list)
    more: int = 0
    alike: Counter[Mistake] = field(default_factory=Counter)
    """How many of ``more`` are like one of the first."""

    def __bool__(self) -> bool:
        return bool(self.first)

    def add(self, problem: Problem) -> None:
        """Something is wrong with the input as a whole, or with a line of it where none may be left out."""
        alike = sum(other.mistake == problem.mistake for other in self.first)
        if alike < MOST_ALIKE and len(self.first) < MOST_PROBLEMS:
            self.first.append(problem)
            return
        self.more += 1
        if alike:
            self.alike[problem.mistake] += 1

    @property
    def refusal(self) -> InputRefused:
        """What is wrong with the input, to be raised."""
        return InputRefused(self.first, more_problems=self.more, alike=self.alike)

    def check(self) -> None:
        """Raises InputRefused where there are any."""
        if self:
            raise self.refusal
