"""Estimates in the shapes that are shown."""

from datetime import datetime

from api_schemas.output.quotes import (
    QuotedHostOutput,
    QuotedRunnerOutput,
    QuotedSecondsOutput,
    QuotedTimesOutput,
    QuoteOutput,
)
from worker.quote.quote import Quoted


def quote_output(quoted: Quoted, deadline: datetime | None, *, sampled: int = 0) -> QuoteOutput:
    """What jobs are expected to take, ``sampled`` of them known."""
    quote = quoted.quote
    return QuoteOutput.from_value(
        quoted,
        sampled=sampled,
        jobs_before=quoted.before,
        jobs_beside=quoted.beside,
        loads=quote.loads,
        seconds=QuotedSecondsOutput(
            low=round(quote.low, 1), expected=round(quote.expected, 1), high=round(quote.high, 1)
        ),
        done_at=QuotedTimesOutput(low=quoted.low, expected=quoted.expected, high=quoted.high),
        deadline=deadline,
        in_time=None if deadline is None else quoted.meets(deadline),
        unplaced=list(quote.unplaced),
        hosts=[
            QuotedHostOutput(
                host=host.host,
                loads=host.loads,
                jobs=host.jobs,
                busy_seconds=round(host.busy_seconds, 1),
                runners=[
                    QuotedRunnerOutput(
                        runner_key=part.runner_key,
                        jobs=part.jobs,
                        load_seconds=round(part.load_seconds, 1),
                        seconds=round(part.seconds, 1),
                    )
                    for part in host.parts
                ],
            )
            for host in quoted.hosts
        ],
    )
