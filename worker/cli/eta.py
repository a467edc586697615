"""How much longer? What is expected of the rest, read now and then, beside what was seen since the start."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from worker.cli.render import Rates
from worker.errors import DatabaseFailure

if TYPE_CHECKING:
    from worker.quote.quote import Quoted

ETA_SECONDS = 5.0
"""Between two estimates."""

Read = Callable[[], "Quoted | None"]


class Eta:
    """Puts the estimate into rates. Between two looks time is taken off it."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._read_at = float("-inf")
        self._quoted: Quoted | None = None

    def into(self, rates: Rates) -> Rates:
        """``rates`` with the estimate for the rest; as they are where nothing is known that they do not tell."""
        now = time.monotonic()
        if now - self._read_at >= ETA_SECONDS:
            self._read_at = now
            try:
                self._quoted = self._read()
            except DatabaseFailure:
                pass  # whoever looks on says so
        quoted = self._quoted
        if quoted is None or not quoted.jobs or quoted.quote.unplaced or not quoted.hosts:
            return rates
        if quoted.guessed and rates.eta_seconds is not None:
            return rates  # what was seen since the start is worth more than a guess
        age = now - self._read_at
        low, expected, high = (
            max(1.0, seconds - age)
            for seconds in (quoted.quote.low, quoted.quote.expected, quoted.quote.high)
        )
        if rates.eta_seconds is not None:  # at the pace so far it may take longer than was learned before
            high = max(high, rates.eta_seconds)
        return replace(rates, eta_seconds=expected, eta_between=(low, high))
