"""What summaries say about answers that somebody should look at."""

from worker.domain.answers import AnswerCounts


def counts_line(counts: AnswerCounts) -> str:
    """The counts in a few words; empty where there is nothing to look at.

    >>> counts_line(AnswerCounts(cut=1200, unfit=1)), counts_line(AnswerCounts())
    ('1,200 cut, 1 given to a part of the prompt', '')
    """
    parts = ((counts.cut, "cut"), (counts.empty, "empty"), (counts.unfit, "given to a part of the prompt"))
    return ", ".join(f"{number:,} {what}" for number, what in parts if number)


def advice(counts: AnswerCounts, batch_id: int) -> list[str]:
    """A sentence for each kind of answer that somebody should look at, with the command that asks them again.

    >>> advice(AnswerCounts(cut=1), 7)
    ['1 answer was cut by num_predict or a full window: caravan retry 7 --cut --set num_predict=…']
    """
    retry = f"caravan retry {batch_id}"
    lines = []
    if counts.cut:
        lines.append(
            f"{_answers(counts.cut)} cut by num_predict or a full window: {retry} --cut --set num_predict=…"
        )
    if counts.empty:
        shows = f"caravan results {batch_id} --empty shows which"
        lines.append(f"{_answers(counts.empty)} empty: {shows}, {retry} --empty asks again")
    if counts.unfit:
        lines.append(
            f"{_answers(counts.unfit)} given to a part of the prompt: {retry} --prompt-fit no --set num_ctx=…"
        )
    return lines


def unproved(count: int, batch_id: int) -> list[str]:
    """A sentence for answers of which the host's counts do not prove that it read the whole prompt."""
    shows = f"caravan results {batch_id} --prompt-fit unknown shows which"
    told = f"{_answers(count)} given where the host does not tell whether it read the whole prompt: {shows}"
    return [told] if count else []


def _answers(count: int) -> str:
    return f"{count:,} answer was" if count == 1 else f"{count:,} answers were"
