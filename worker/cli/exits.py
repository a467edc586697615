"""What an error tells the shell and the person before it."""

from collections.abc import Iterator, Sequence

from worker.domain.batches import BatchProgress, BatchState
from worker.domain.jobs import JobState
from worker.errors import MOST_ALIKE, CaravanError, InputRefused, Mistake, NoHost, Problem

REFUSED = 2
FAILED_OR_HELD = 3
TOO_LATE = 5


def exit_code(error: CaravanError) -> int:
    match error:
        case InputRefused():
            return REFUSED
        case NoHost():
            return 4
        case _:
            return 1


def explain(error: CaravanError) -> Iterator[str]:
    """The lines to print: one per problem, and what it means for the rest."""
    match error:
        case InputRefused():
            yield from _grouped(error)
            others = error.more_problems - sum(error.alike.values())
            if others:
                yield f"caravan: … and {others:,} more"
            if any(problem.line and not _is_of_the_command(problem) for problem in error.problems):
                yield "caravan: the input was refused; nothing of it runs. Correct it and submit it again."
        case _:
            yield f"caravan: {error}"


def _grouped(error: InputRefused) -> Iterator[str]:
    """A line for each problem; what is wrong with many lines alike is said once, with the numbers of the first."""
    lines: dict[Mistake, set[int]] = {}
    for problem in error.problems:
        lines.setdefault(problem.mistake, set()).add(problem.line)
    for mistake, numbers in lines.items():
        message = mistake[2].replace("give a default for all", "give --model MODEL for all")
        named_lines = sorted(numbers - {0})
        if not named_lines and message.startswith("options."):
            message = message.replace("options.", "--set ", 1)
        yield f"caravan: {_place(named_lines, error.alike.get(mistake, 0))}{message}"


def _place(numbers: Sequence[int], more: int = 0) -> str:
    """Where a mistake stands: in these lines and in so many others.

    >>> _place([]), _place([7]), _place([2, 3, 9]), _place([2, 3, 4, 5, 6], 1200)
    ('', 'line 7: ', 'lines 2, 3 and 9: ', 'lines 2, 3, 4, 5, 6 and 1,200 more: ')
    >>> _place(range(1, 10))
    'lines 1, 2, 3, 4, 5 and 4 more: '
    """
    if len(numbers) < 2:
        return "".join(f"line {number}: " for number in numbers)
    shown = [str(number) for number in numbers[:MOST_ALIKE]]
    more += len(numbers) - len(shown)
    last = f"{more:,} more" if more else shown.pop()
    return f"lines {', '.join(shown)} and {last}: "


def _is_of_the_command(problem: Problem) -> bool:
    """What is wrong stands on the command line, not in the input."""
    return (
        problem.field.startswith("-")
        or problem.field in ("output", "words")
        or problem.code in ("changed_input", "cannot_apply", "model_missing")
    )


def finished_code(progress: BatchProgress) -> int:
    """0 when every job of the batch succeeded, those outside of ``--limit`` or ``--sample`` apart; 2 where it was refused;
    else 3."""
    if progress.batch.state is BatchState.REFUSED:
        return REFUSED
    succeeded = progress.counts.get(JobState.SUCCEEDED, 0)
    return 0 if succeeded == progress.total - progress.outside else FAILED_OR_HELD
