"""The hosts that a command works with: those that cannot be reached are said, and models are looked for among the others."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from worker.errors import InputRefused, Problem

if TYPE_CHECKING:
    from api_schemas.submissions import Submission
    from worker.cli.render import Console
    from worker.door.observer import CheckModels
    from worker.hosts.registry import HostLook
    from worker.stack.main_job import Workplace


def say_unreachable(console: "Console", looks: "Sequence[HostLook]") -> None:
    """Which hosts are left out for now, and why."""
    for look in looks:
        if look.error is not None:
            console.print(
                f"{look.host.name} cannot be reached and is left out for now: {look.error}", style="yellow"
            )


@contextmanager
def models_named(submission: "Submission", models: "Callable[[], Collection[str]]") -> "Iterator[None]":
    """Name the ``models`` of the hosts, as far as they are known, where rows lack one and the command has none either."""

    try:
        yield
    except InputRefused as error:
        lacking = [
            problem for problem in error.problems if (problem.field, problem.code) == ("model", "missing")
        ]
        if submission.models or not lacking:
            raise
        have = ", ".join(sorted(models()))
        hint = Problem(
            0, "--model", "missing", f"give --model; your hosts have {have}" if have else "give --model MODEL"
        )
        others = [problem for problem in error.problems if problem not in lacking]
        if others:
            raise InputRefused(
                [*error.problems, hint], more_problems=error.more_problems, alike=error.alike
            ) from None
        raise InputRefused([hint]) from None


def models_checked(place: "Workplace", console: "Console", *, pull: bool = False) -> "CheckModels":
    """Refuses models that none of the hosts has, or begins to pull them."""
    from worker.hosts.registry import models_check

    if not pull:
        return models_check(place.models, None)
    from worker.cli.pulling import puller

    hosts = [look.host.name for look in place.looks if look.error is None]
    return models_check(place.models, puller(place.database, hosts, console))
