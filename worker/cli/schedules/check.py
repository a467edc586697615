"""What is looked at before a schedule is stored: models, hours, documents, prompts and folders for answers."""

import time
from typing import TYPE_CHECKING

from worker.cli.streams import say

if TYPE_CHECKING:
    from worker.domain.hosts import Host
    from worker.domain.schedules import ScheduleSpec
    from worker.ollama.client import OllamaHost
    from worker.storage.engine import Database


def check_schedule(database: "Database", spec: "ScheduleSpec", *, fleet: bool, tick: float) -> list[str]:
    """What is doubtful about a schedule. Raises InputRefused for what cannot work: a model that no host has, documents
    that cannot be read, a template that fails, a folder that cannot be written."""
    from worker.errors import InputRefused
    from worker.schedules.check import check_hours, check_models, check_outputs, check_prompts
    from worker.schedules.keep import matches_line, matching
    from worker.schedules.spec import check_roots

    warnings = check_models(database, spec, open_host=_open_host)
    warnings += check_hours(spec, now=database.clock().now())
    if fleet:
        warnings += _check_by_control(database, spec, tick)
    else:
        check_roots(spec)
        check_outputs(spec)
    try:
        files, tables = matching(spec)
    except InputRefused:
        if not fleet:
            raise
        return [*warnings, "the documents are not on this machine, so it is not said how many match"]
    if not files:
        return [*warnings, f"nothing matches yet: {', '.join(spec.documents)}"]
    say(matches_line(files, tables, len(spec.models), spec.roots))
    return [*warnings, *check_prompts(spec)]


def _open_host(host: "Host") -> "OllamaHost":
    from worker.cli.settings import settings_for
    from worker.ollama.client import OllamaHost

    return OllamaHost.of(host, deadlines=settings_for().deadlines)


def _check_by_control(database: "Database", spec: "ScheduleSpec", tick: float) -> list[str]:
    """Control reads the documents and writes the answers: it is asked whether it can."""
    from worker.errors import InputRefused, Problem
    from worker.schedules.check import outputs_of, refuse_unwritable
    from worker.schedules.roots import answer_of_roots, ask_of_roots, forget_question

    system = (spec.system or "")[1:] if (spec.system or "").startswith("@") else None
    paths = [*spec.roots, *filter(None, (spec.template, spec.combine, system))]
    clock = database.clock()
    key = ask_of_roots(database, paths, outputs=outputs_of(spec), clock=clock)
    until = clock.monotonic() + 2 * tick + 5
    try:
        while (answer := answer_of_roots(database, key)) is None:
            if clock.monotonic() > until:
                return ["nobody told whether control can read the documents: does caravan control run?"]
            time.sleep(0.2)  # noqa: TID251 - a person waits for it
    finally:
        forget_question(database, key)
    if answer.unreadable:
        message = f"control, on {answer.machine}, cannot read {', '.join(answer.unreadable)}"
        raise InputRefused([Problem(0, "--documents", "unreadable", message)])
    refuse_unwritable(answer.unwritable, who=f"control, on {answer.machine}: ")
    return []
