"""Observers of a submission: they get its progress, and decide what only a person can."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from worker.domain.batches import Batch
from worker.errors import Problem
from worker.records import record

if TYPE_CHECKING:
    from worker.door.rows import InputLine

CheckModels = Callable[[Mapping[str, int]], list[Problem]]
"""What is wrong with models (model -> first line that names it): no host has them, and they cannot be pulled."""

Choice = Literal["extend", "new"]


@record
class Difference:
    """Rows beside the batch that was made of them before: jobs, by (custom_id, model)."""

    kept: int
    """Asked as before; their results stay."""
    new: int
    changed: int
    """Asked otherwise; what they answered goes."""
    running: int
    """Changed, and being answered just now: they are left as they are."""
    gone: int
    """In the batch and no longer in the input; they stay, unless they are dropped."""
    described: int = 0
    """Of those that are kept, jobs with other metadata than before."""
    dropped: bool = False
    """What is no longer in the input was deleted."""
    examples: tuple[str, ...] = ()
    """The custom_ids of the first rows that are new or changed."""

    @property
    def nothing(self) -> bool:
        return not self.new and not self.changed

    @property
    def with_examples(self) -> str:
        """The same with the names of some rows."""
        more = ", …" if self.new + self.changed > len(self.examples) else ""
        return f"{self} ({', '.join(self.examples)}{more})" if self.examples else str(self)

    def __str__(self) -> str:
        parts = [f"{self.kept:,} kept", f"{self.new:,} new", f"{self.changed:,} changed"]
        if self.described:
            parts[0] += f" ({self.described:,} with other metadata)"
        if self.gone:
            stay = "deleted" if self.dropped else "they stay; --drop-missing deletes them"
            parts.append(f"{self.gone:,} no longer in the input ({stay})")
        return ", ".join(parts)


class Observer:
    """Hears of everything and says nothing; changed rows are refused unless the submission says what to do."""

    def rows_changed(self, batch: Batch, difference: Difference) -> Choice | None:
        """Rows of this batch changed. None: nobody can decide, and the submission is refused."""
        return None

    def rejected(self, problem: Problem, line: "InputLine") -> None:
        """A line is wrong and left out."""

    def stored(self, seq: int) -> None:
        """All jobs up to this place in the batch are stored."""


SILENT = Observer()
