"""What a command says of a batch beside its input and recipe."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from worker.policy.windows import Windows

OnBadLine = Literal["refuse", "skip"]


@dataclass(frozen=True, slots=True)
class Terms:
    """Applied to a new batch; to one that is there already they are applied too, or refused by name."""

    name: str | None = None
    max_failures: str | None = None
    keep: timedelta | None = None
    """How long the batch is kept once it has ended, zero for ever; None: as it is set for all."""
    windows: "Windows | None" = None
    """The hours in which its jobs may begin; None: those that it has, or at any time."""
    on_bad_line: OnBadLine | None = None
    """None: lines that are wrong are refused where they are read."""
    pull_missing: bool = False
    fail_on_cut: bool = False


NO_TERMS = Terms()
