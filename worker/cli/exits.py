"""What an error tells the shell and the person before it."""

from collections.abc import Iterator, Sequence

from worker.domain.batches import BatchProgress
from worker.domain.jobs import JobState
from worker.errors import CaravanError, InputRefused, NoHost, Problem

FAILED_OR_HELD = 3
TOO_LATE = 5


def exit_code(error: CaravanError) -> int:
    match error:
        case InputRefused():
            return 2
        case NoHost():
            return 4
        case _:
            return 1


def explain(error: CaravanError) -> Iterator[str]:
    """The lines to print: one per problem, and what it means for the rest."""
    match error:
        case InputRefused():
            yield from _grouped(error.problems)
            if error.left_out:
                yield f"caravan: … and {error.left_out:,} more"
            if not all(_is_of_the_command(problem) for problem in error.problems):
                yield "caravan: the input was refused; nothing of it runs. Correct it and submit it again."
        case _:
            yield f"caravan: {error}"


def _grouped(problems: Sequence[Problem]) -> Iterator[str]:
    """A line for each problem; what is wrong with many lines alike is said once."""
    alike: dict[tuple[str, str, str], list[Problem]] = {}
    for problem in problems:
        alike.setdefault((problem.field, problem.code, problem.message), []).append(problem)
    for first, *others in alike.values():
        more = f" (and {len(others):,} more line{'' if len(others) == 1 else 's'} alike)" if others else ""
        yield f"caravan: {first}{more}"


def _is_of_the_command(problem: Problem) -> bool:
    """What is wrong stands on the command line, not in the input."""
    return (
        problem.field.startswith("-")
        or problem.field in ("output", "words")
        or problem.code in ("changed_input", "cannot_apply", "model_missing")
    )


def finished_code(progress: BatchProgress) -> int:
    """0 when every job of the batch succeeded, those outside of ``--limit`` or ``--sample`` apart; else 3."""
    succeeded = progress.counts.get(JobState.SUCCEEDED, 0)
    return 0 if succeeded == progress.total - progress.outside else FAILED_OR_HELD
