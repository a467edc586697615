"""Can whoever reads the documents read these folders? On a fleet that is ``control``, perhaps on another machine.

Whoever wants to know keeps a question in the database; the chores answer it; the asker takes it away again.
"""

import os
import socket
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from worker.clock import Clock
from worker.records import record
from worker.schedules.check import unwritable
from worker.storage.engine import Connection, Database
from worker.storage.pulses import forget_pulse, questions, record_pulse

PREFIX = "roots? "
FORGOTTEN = timedelta(minutes=10)
"""After which an asker is taken to have given up."""


@record
class Answer:
    """What somebody who reads documents found."""

    machine: str
    unreadable: tuple[str, ...]
    unwritable: tuple[str, ...] = ()
    """Folders for answers, each with the reason."""


def unreadable(paths: Sequence[str]) -> tuple[str, ...]:
    """Those that cannot be read from here; addresses of object stores are taken as they are."""
    return tuple(path for path in paths if "://" not in path and not _readable(Path(path)))


def _readable(path: Path) -> bool:
    try:
        return os.access(path, os.R_OK | os.X_OK) if path.is_dir() else os.access(path, os.R_OK)
    except (OSError, ValueError):
        return False


def ask_of_roots(
    database: Database, paths: Sequence[str], *, outputs: Sequence[str] = (), clock: Clock
) -> str:
    """Ask the chores whether they can read ``paths`` and write to ``outputs``; returns the key of the answer."""
    key = f"{PREFIX}{uuid.uuid4().hex}"
    detail = {"paths": list(paths), "outputs": list(outputs)}
    database.transact(lambda conn: record_pulse(conn, key, now=clock.now(), detail=detail))
    return key


def answer_of_roots(database: Database, key: str) -> Answer | None:
    """None: nobody has looked yet."""
    with database.read() as conn:
        question = questions(conn, key).get(key)
    if question is None or "unreadable" not in question.detail:
        return None
    detail = question.detail
    return Answer(str(detail["machine"]), tuple(detail["unreadable"]), tuple(detail.get("unwritable", ())))


def forget_question(database: Database, key: str) -> None:
    """Nobody waits for the answer any more."""
    database.transact(lambda conn: forget_pulse(conn, key))


def answer_questions(database: Database, *, clock: Clock) -> int:
    """Look at what was asked, and forget what nobody asks any more; returns how many were answered."""
    with database.read() as conn:
        open_questions = questions(conn, PREFIX)
    answered = 0
    for name, question in open_questions.items():
        if clock.now() - question.at > FORGOTTEN:
            forget_question(database, name)
        elif "unreadable" not in question.detail:
            problems = unreadable(question.detail["paths"])
            detail = {
                **question.detail,
                "unreadable": list(problems),
                "unwritable": list(unwritable(question.detail.get("outputs", ()))),
                "machine": socket.gethostname(),
            }
            database.transact(partial(_answer, name=name, at=question.at, detail=detail))
            answered += 1
    return answered


def _answer(conn: Connection, name: str, at: datetime, detail: Mapping[str, Any]) -> None:
    if name in questions(conn, name):
        record_pulse(conn, name, now=at, detail=detail)
