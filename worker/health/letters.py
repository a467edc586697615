"""Decides which mails about findings to send: each finding once an hour at most, and once that all is well again."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from typing import Any

from worker.domain.health import Finding
from worker.records import record

AGAIN = timedelta(hours=1)
"""The same findings are mailed no more often, however often they come and go."""
REMIND = timedelta(hours=24)
"""A finding that lasts is mailed again once a day."""


@record
class Mailed:
    """What was mailed, as ``pulses`` keeps it."""

    bad: bool = False
    """The last mail said that something is wrong."""
    open: frozenset[str] = frozenset()
    """Findings that last since they were mailed."""
    at: Mapping[str, datetime] = field(default_factory=dict)
    """Finding → when it was last mailed."""

    @property
    def stored(self) -> dict[str, Any]:
        times = {name: at.isoformat() for name, at in self.at.items()}
        return {"bad": self.bad, "open": sorted(self.open), "at": times}

    @classmethod
    def parse(cls, stored: Mapping[str, Any]) -> "Mailed":
        """What ``stored`` gave; what another version wrote otherwise counts as nothing."""
        try:
            times = {str(name): datetime.fromisoformat(at) for name, at in stored.get("at", {}).items()}
            return cls(bool(stored.get("bad")), frozenset(map(str, stored.get("open", ()))), times)
        except (TypeError, ValueError, AttributeError):
            return cls()

    def __or__(self, other: "Mailed") -> "Mailed":
        """What two have mailed, who did not know of each other."""
        return Mailed(self.bad or other.bad, self.open | other.open, {**self.at, **other.at})


@record
class Letter:
    """A mail to be sent."""

    subject: str
    text: str


def next_letter(
    mailed: Mailed, findings: Sequence[Finding], *, now: datetime, place: str
) -> tuple[Letter | None, Mailed]:
    """The mail that is due, if one is, and what is to be remembered when it is sent. ``place`` names the installation."""
    bad = [finding for finding in findings if finding.bad]
    at = {name: when for name, when in mailed.at.items() if now - when < REMIND}
    if not bad:
        letter = Letter(f"caravan on {place}: well again", _text("All is well again.", findings, place))
        return (letter if mailed.bad else None), Mailed(at=at)
    ids = frozenset(finding.id for finding in bad)
    due = [
        finding
        for finding in bad
        if finding.id not in at or (finding.id not in mailed.open and now - at[finding.id] >= AGAIN)
    ]
    if not due:
        return None, Mailed(mailed.bad, mailed.open & ids, at)
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    letter = Letter(
        f"caravan on {place}: {due[0].message[:120]}{more}", _text("Not all is well.", findings, place)
    )
    return letter, Mailed(True, ids, {**at, **dict.fromkeys(ids, now)})


def _text(first: str, findings: Sequence[Finding], place: str) -> str:
    lines = [f"{first} ({place})", ""]
    for finding in findings:
        lines += [
            f"{'-' if finding.bad else 'note:'} {finding.message}",
            f"  what to do: {finding.remedy}",
            "",
        ]
    return "\n".join([*lines, "caravan health says how it is now."]) + "\n"
