"""What the documents of a firing come to beside what is remembered of them: which are new, changed, gone, and the job lines of
those that are to be asked.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import field
from typing import Any

from worker.documents.leave_out import OmissionCounts
from worker.domain.schedules import Firing, Schedule, ScheduleDocument
from worker.door.document_lines import Window, job_lines
from worker.door.rows import InputLine
from worker.errors import DocumentRefused, Problem
from worker.policy.schedules import Change, DocumentHistory, change, fingerprint, model_moved
from worker.records import mutable_record
from worker.schedules.reading import ReadDocument
from worker.schedules.spec import Asking
from worker.storage.schedule_documents import Key, Noted

LISTED = 100
"""Documents of a kind that a report names."""


@mutable_record
class Entry:
    """A document and model, as this firing found it."""

    custom_id: str
    model: str
    path: str
    change: Change
    sha256: str | None = None
    fingerprint: bytes | None = None
    code: str | None = None
    message: str | None = None
    blank_pages: tuple[int, ...] = ()
    pages: int = 0
    flawed: bool = False
    """It is asked again for its answer's sake, which is not to be taken once more."""


@mutable_record
class Diff:
    """What the documents come to, while they are read."""

    asking: Asking
    schedule: Schedule
    firing: Firing
    history: dict[Key, ScheduleDocument]
    digests: dict[str, frozenset[str]]
    windows: dict[str, Window | None]
    """Model → how much of a document fits."""
    adopted: bool
    """The batch is there already, so nothing is submitted."""
    entries: dict[Key, Entry] = field(default_factory=dict)
    lines: dict[int, Key] = field(default_factory=dict)
    moved: Counter[str] = field(default_factory=Counter)
    """Model → answers that other weights gave than those it has now."""
    left_out: OmissionCounts = field(default_factory=Counter)
    """Files that match the patterns and are no documents."""
    unsettled: list[str] = field(default_factory=list)
    """Files that wait for the next firing: nothing in them is asked or gone."""

    def read(self, documents: Iterator[ReadDocument]) -> Iterator[InputLine]:
        """Look at every document; the ones to be asked as job lines."""
        number = 0
        for document in documents:
            if document.unsettled:
                self.unsettled.append(document.custom_id)
                continue
            for model in self.schedule.spec.models:
                entry = self._entry(document, model)
                key = document.custom_id, model
                if key in self.entries:
                    continue
                self.entries[key] = entry
                if not entry.change.asks or self.adopted:
                    continue
                for raw in self._lines(document, model, entry):
                    number += 1
                    self.lines[number] = key
                    yield InputLine(number, raw)

    def _entry(self, document: ReadDocument, model: str) -> Entry:
        if document.document is None:
            return Entry(
                document.custom_id,
                model,
                document.path,
                Change.FAILED,
                code=document.code,
                message=document.message,
            )
        sha256 = document.document.sha256
        print_ = fingerprint(sha256, model, self.asking.plain)
        before = self.history.get((document.custom_id, model))
        if before is not None and before.firing_id == self.firing.id and before.change != Change.FAILED:
            noted = Change(before.change)  # this firing noted it already, before somebody died
        else:
            noted = change(
                None
                if before is None
                else DocumentHistory(
                    before.fingerprint,
                    before.answered,
                    before.digest,
                    pending=before.pending,
                    flawed=before.flawed,
                ),
                print_,
                digests=self.digests.get(model, frozenset()),
                on_model_change=self.schedule.spec.on_model_change,
                ask_cut_again=self.schedule.spec.ask_cut_again,
            )
        if (
            before is not None
            and noted is Change.REUSED
            and model_moved(before.digest, self.digests.get(model, frozenset()))
        ):
            self.moved[model] += 1
        entry = Entry(document.custom_id, model, document.path, noted, sha256, print_)
        entry.flawed = noted is Change.RETRIED and before is not None and before.flawed
        entry.blank_pages, entry.pages = document.document.blank_pages, len(document.document.pages or ())
        return entry

    def _lines(self, document: ReadDocument, model: str, entry: Entry) -> Iterator[str]:
        """One job line, or those of the parts and the whole; none where it cannot be asked."""
        assert document.document is not None
        try:
            lines = job_lines(
                document.document, self.asking.templates, self.windows[model], long=self.schedule.spec.long
            )
        except DocumentRefused as error:
            self.fail(entry, Problem(0, "", error.code, error.message))
            return
        for line in lines:
            metadata = {**line["metadata"], "document": document.custom_id}
            request = {
                **line,
                "model": model,
                "metadata": metadata,
                **({"reuse": False} if entry.flawed else {}),
            }
            yield json.dumps(request, ensure_ascii=False, default=str)

    @staticmethod
    def fail(entry: Entry, problem: Problem) -> None:
        """It cannot be asked."""
        entry.change, entry.code, entry.message = Change.FAILED, problem.code, problem.message

    @property
    def gone(self) -> list[Key]:
        """What was there the last time and is not any more; of a retake, also what this firing found gone before."""
        return [key for key in self._missing() if key[1] in self.schedule.spec.models]

    @property
    def dropped(self) -> list[Key]:
        """Documents of models that the schedule asks no more."""
        return [key for key in self._missing() if key[1] not in self.schedule.spec.models]

    def _missing(self) -> list[Key]:
        return [
            key
            for key, row in self.history.items()
            if key not in self.entries
            and (not row.gone or row.firing_id == self.firing.id)
            and not any(_is_of(key[0], file) for file in self.unsettled)
        ]

    @property
    def added(self) -> list[str]:
        """Models that the schedule asks for the first time, while it asked others before."""
        models = {model for _, model in self.history}
        return [model for model in self.schedule.spec.models if models and model not in models]


def _is_of(custom_id: str, file: str) -> bool:
    """Whether a document is this file, or a row or an attachment in it."""
    return custom_id == file or custom_id.startswith((f"{file}#", f"{file}/"))


def _incomplete(diff: Diff) -> list[dict[str, Any]]:
    """Documents that this firing asks without pages that have no text."""
    incomplete = {
        entry.custom_id: {
            "document": entry.custom_id,
            "pages": list(entry.blank_pages),
            "of": entry.pages,
        }
        for entry in diff.entries.values()
        if entry.blank_pages and entry.change.asks
    }
    return list(incomplete.values())


def report_of_documents(diff: Diff, noted: list[Noted], gone: list[Key]) -> dict[str, Any]:
    """What is known when the documents are read; the rest comes with the answers (``report_of``)."""
    names = {
        str(kind): list(dict.fromkeys(row.custom_id for row in noted if row.change == kind))
        for kind in (Change.NEW, Change.CHANGED, Change.RETRIED)
    }
    names["gone"] = list(dict.fromkeys(custom_id for custom_id, _ in gone))
    incomplete = _incomplete(diff)
    return {
        "documents": {kind: listed[:LISTED] for kind, listed in names.items() if listed},
        "documents_not_listed": sum(max(0, len(listed) - LISTED) for listed in names.values()),
        "left_out": dict(diff.left_out),
        "unsettled": diff.unsettled[:LISTED],
        "models_added": diff.added,
        "models_dropped": dict(Counter(model for _, model in diff.dropped)),
        "incomplete": incomplete[:LISTED],
        "incomplete_not_listed": max(0, len(incomplete) - LISTED),
        "models": {
            model: {"digests": sorted(diff.digests.get(model, ())), "answers_of_others": diff.moved[model]}
            for model in diff.schedule.spec.models
        },
    }
