"""When a failed notice is tried again, and its text."""

from datetime import timedelta

from worker.domain.notices import News
from worker.policy.answers import advice, counts_line

WAITS = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 300, 1800, 7200, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
"""Between one try and the next: the schedule that Standard Webhooks proposes, three days in all."""


def next_wait(tries: int) -> timedelta | None:
    """After so many tries that failed; None: it is given up.

    >>> next_wait(1), next_wait(9), next_wait(10)
    (datetime.timedelta(seconds=5), datetime.timedelta(days=1), None)
    """
    return WAITS[tries - 1] if tries <= len(WAITS) else None


def headline(news: News) -> str:
    """The outcome in one line.

    >>> from datetime import UTC, datetime
    >>> at = datetime(2026, 11, 23, tzinfo=UTC)
    >>> headline(News(7, "k", "reviews", "finished", {"succeeded": 480, "failed": 20}, {"cut": 20}, at, at))
    'reviews: 480 of 500 answered, 20 failed'

    Answers that somebody should look at are counted behind: ``reviews: 500 of 500 answered; 30 cut``.
    """
    counts = dict(news.counts)
    answered = counts.pop("succeeded", 0)
    rest = "".join(f", {n:,} {state}" for state, n in sorted(counts.items()) if n)
    flaws = f"; {counts_line(news.answers)}" if news.answers else ""
    cancelled = "cancelled: " if news.state == "cancelled" else ""
    return f"{news.name}: {cancelled}{answered:,} of {sum(news.counts.values()):,} answered{rest}{flaws}"


def letter(news: News) -> str:
    """The same for a mail, with reasons and where to look."""
    lines = [headline(news), ""]
    lines += [f"  {n:,} × {code}" for code, n in news.failures.items()]
    lines += [f"  {line}" for line in advice(news.answers, news.batch)]
    lines += [""] if news.failures or news.answers else []
    minutes, seconds = divmod(round(news.seconds), 60)
    hours, minutes = divmod(minutes, 60)
    lines.append(
        f"Submitted {news.created_at:%Y-%m-%d %H:%M} UTC, done {news.finished_at:%Y-%m-%d %H:%M} UTC"
    )
    lines.append(
        f"in {hours} h {minutes} min {seconds} s, of which hosts generated {news.eval_seconds:,.0f} s."
    )
    lines.append(f"Tokens: {news.prompt_tokens:,} read, {news.output_tokens:,} generated.")
    lines += ["", f"caravan status {news.batch}", f"caravan results {news.batch} -o answers.csv"]
    if news.is_bad:
        lines.append(f"caravan jobs {news.batch} --state failed")
    return "\n".join(lines) + "\n"
