"""The one value that says which jobs are meant, by every action and every export."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from worker.domain.answers import ANY_ANSWER, AnswerFilter
from worker.domain.jobs import JobState
from worker.records import record


@record
class Selection:
    """Which jobs an action or an export means: every condition that is given has to hold; None leaves one open.

    An action needs one that is ``bounded``: nothing is done to everything.
    """

    batch_id: int | None = None
    job_ids: frozenset[int] | None = None
    states: frozenset[JobState] | None = None
    codes: frozenset[str] | None = None
    """Of the failure, or of what they are held for."""
    models: frozenset[str] | None = None
    """Normalised names."""
    custom_ids: frozenset[str] | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    """Key and value, as text."""
    answers: AnswerFilter = ANY_ANSWER
    """Of what is wrong with the stored answer."""
    since: datetime | None = None
    """Ended at or after."""
    until: datetime | None = None
    """Ended before."""
    parts: bool = False
    """Of an export: also jobs whose answers are for another job's prompt alone. An action always means them too."""

    def bounded(self) -> "Selection":
        """The same. Raises ValueError for one that names neither a batch nor jobs by their ids."""
        if self.batch_id is None and self.job_ids is None:
            raise ValueError("an action needs a batch or jobs")
        return self

    def includes(self, job_id: int) -> bool:
        """Whether ``job_ids`` let this one through, of which there may be more than a query takes."""
        return self.job_ids is None or job_id in self.job_ids

    @property
    def whole_batch(self) -> bool:
        """Nothing but the batch is asked for."""
        return replace(self, batch_id=None, parts=False) == Selection()

    @property
    def stored(self) -> dict[str, Any]:
        """As plain JSON, without what it leaves open.

        >>> Selection(7, states=frozenset({JobState.FAILED})).stored
        {'batch_id': 7, 'states': [<JobState.FAILED: 'failed'>]}
        """
        values: dict[str, Any] = {"batch_id": self.batch_id}
        for name in _LISTS:
            condition = getattr(self, name)
            values[name] = None if condition is None else sorted(condition)
        values["metadata"] = [list(pair) for pair in self.metadata] or None
        values["answers"] = self.answers.stored or None
        values["since"] = None if self.since is None else self.since.isoformat()
        values["until"] = None if self.until is None else self.until.isoformat()
        values["parts"] = self.parts or None
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def parse(cls, stored: Mapping[str, Any]) -> "Selection":
        """What ``stored`` gave. Raises KeyError, TypeError or ValueError for something that this version does not know.

        >>> Selection.parse({"batch_id": 7, "states": ["failed"]}) == Selection(7, states=frozenset({JobState.FAILED}))
        True
        """
        values = dict(stored)
        selection = cls(
            batch_id=values.pop("batch_id", None),
            metadata=tuple((str(key), str(value)) for key, value in values.pop("metadata", ())),
            answers=AnswerFilter.parse(values.pop("answers", {})),
            since=_moment(values.pop("since", None)),
            until=_moment(values.pop("until", None)),
            parts=bool(values.pop("parts", False)),
            **{
                name: frozenset(_LISTS[name](item) for item in values.pop(name))
                for name in _LISTS
                if name in values
            },
        )
        if values:
            raise ValueError(f"unknown conditions: {', '.join(sorted(values))}")
        return selection

    def among(self, states: Iterable[JobState]) -> "Selection":
        """The same jobs, those in one of ``states`` alone."""
        allowed = frozenset(states)
        return replace(self, states=allowed if self.states is None else allowed & self.states)


def _moment(stored: str | None) -> datetime | None:
    return None if stored is None else datetime.fromisoformat(stored)


_LISTS: Mapping[str, Callable[[Any], Any]] = {
    "job_ids": int,
    "states": JobState,
    "codes": str,
    "models": str,
    "custom_ids": str,
}
"""Conditions that are lists, and what they hold."""
