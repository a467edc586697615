"""What an input holds, counted while it is read: rows, empty cells, and the longest prompt beside what its model takes."""

from collections.abc import Iterable, Sequence
from dataclasses import field

from worker.domain.numbers import count_of
from worker.records import mutable_record


@mutable_record
class Longest:
    """The prompts of a model, as estimated: tokens that they have at most, nearly always."""

    tokens: int = 0
    line: int = 0
    """Of the longest."""
    window: int | None = None
    """Tokens that the model takes with what is asked of it; None where no host tells."""
    over: int = 0
    """Prompts that are longer than that."""


@mutable_record
class Preview:
    """One reading of an input."""

    rows: int = 0
    empty: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Column that the template takes → how many of its cells are empty, and the first line."""
    longest: dict[str, Longest] = field(default_factory=dict)
    """By model."""

    def add_empty(self, line: int, empty: Iterable[str]) -> None:
        """Count the columns that are empty in a row."""
        for column in empty:
            count, first = self.empty.get(column, (0, line))
            self.empty[column] = count + 1, first

    def add_prompt(self, line: int, model: str, tokens: int, window: int | None) -> None:
        """Count a prompt of ``tokens`` for a model that takes ``window``."""
        longest = self.longest.get(model)
        if longest is None:
            longest = self.longest[model] = Longest()
        if tokens > longest.tokens:
            longest.tokens, longest.line, longest.window = tokens, line, window
        if window is not None and tokens > window:
            longest.over += 1


def summary(preview: Preview, *, unsampled: int = 0) -> str:
    """The input in a line.

    >>> preview = Preview(rows=3, longest={"qwen3:8b": Longest(120, 2, 40960), "phi:3b": Longest(120, 2)})
    >>> summary(preview, unsampled=17)
    '3 of 20 rows; the longest prompt has about 120 tokens (line 2); qwen3:8b takes 40,960.'
    """
    rows = preview.rows
    counted = f"{rows:,} of {rows + unsampled:,} rows" if unsampled else count_of(rows, "row")
    if not preview.longest:
        return f"{counted}."
    longest = max(preview.longest.values(), key=lambda prompts: prompts.tokens)
    windows = {
        model: prompts.window for model, prompts in preview.longest.items() if prompts.window is not None
    }
    shown = [f"{model} takes {window:,}" for model, window in list(windows.items())[:3]]
    if len(windows) > len(shown):
        shown.append(count_of(len(windows) - len(shown), "more model"))
    takes = f"; {', '.join(shown)}" if shown else ""
    return f"{counted}; the longest prompt has about {count_of(longest.tokens, 'token')} (line {longest.line:,}){takes}."


def warnings(preview: Preview) -> Sequence[str]:
    """What may be wrong with the input, in sentences; none where nothing is."""
    lines = []
    if preview.empty:
        most = sorted(preview.empty.items(), key=lambda item: -item[1][0])
        shown = [f"{count:,} in {column} (first line {first:,})" for column, (count, first) in most[:5]]
        more = f" and in {count_of(len(most) - 5, 'more column')}" if len(most) > 5 else ""
        lines.append(f"Empty cells: {', '.join(shown)}{more}.")
    for model, longest in preview.longest.items():
        if longest.over and longest.window is not None:
            prompts = count_of(longest.over, "prompt is", "prompts are")
            lines.append(
                f"{prompts} probably longer than the {longest.window:,} tokens that {model} takes; the longest has about "
                f"{longest.tokens:,} (line {longest.line:,})."
            )
    return lines
