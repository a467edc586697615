"""What the work came to."""

from typing import Any

from pydantic import Field

from api_schemas.output.base import Output, Time


class FiguresOutput(Output):
    """A line of a report. Shares are numbers from 0 to 1."""

    key: str = Field(description="What the line stands for: a batch, a model, a host, a day or an hour.")
    results: int = Field(description="Number of jobs that ended with a result.")
    succeeded: int = Field(description="Number of answers.")
    failed: int = Field(description="Number of failures.")
    cut: int = Field(description="Answers that num_predict or a full window ended.")
    empty: int = Field(description="Answers without text.")
    unfit: int = Field(description="Answers to a part of the prompt only.")
    prompt_tokens: int = Field(description="Tokens read.")
    output_tokens: int = Field(description="Tokens generated, reasoning included.")
    eval_seconds: float = Field(description="Seconds of generating, slots added up.")
    busy_seconds: float = Field(description="Seconds of reading and generating, divided by the slots.")
    loading_seconds: float = Field(description="Seconds of loading models.")
    loads: int = Field(description="Number of model loads.")
    idle_seconds: float | None = Field(description="Idle seconds; null where they belong to no line.")
    kwh: float | None = Field(description="Energy in kWh; null where the watts of a host are not known.")
    tokens_per_second: float | None = Field(description="output_tokens by eval_seconds.")
    load_share: float | None = Field(description="Share of the working time that went into loading.")
    idle_share: float | None = Field(description="Share of the time that was idle.")
    cost: float | None = Field(description="Cost of the energy, with --price-per-kwh.")


class ReportOutput(Output):
    """What the work came to."""

    at: Time = Field(description="The time of the report.")
    by: str = Field(description="What the lines stand for: batch, model, host, day or hour.")
    batches: list[int] = Field(description="Numbers of the batches that were named; empty: all work.")
    since: Time | None = Field(description="Beginning of the time that counts.")
    until: Time | None = Field(description="End of the time that counts.")
    lines: list[FiguresOutput] = Field(description="All lines.")
    total: FiguresOutput = Field(description="Their sum.")
    failures: dict[str, int] = Field(description="Failures by error code.")
    hosts_without_watts: list[str] = Field(description="Hosts whose power is not set.")
    batch_lines: list[dict[str, Any]] = Field(
        description="Rows of the view report_batches: the batches that were named, or the newest."
    )
    more_batches: bool = Field(description="Whether there are older batches; name them to get their rows.")
    schedules: list[dict[str, Any]] = Field(
        description="Rows of the view report_schedules: all schedules, in a report over all work."
    )
