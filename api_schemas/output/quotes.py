"""What jobs are expected to take."""

from pydantic import Field

from api_schemas.output.base import HostName, Output, Time


class QuotedSecondsOutput(Output):
    """A duration between two bounds."""

    low: float = Field(description="Seconds at least.")
    expected: float = Field(description="Seconds that are expected.")
    high: float = Field(description="Seconds at most.")


class QuotedTimesOutput(Output):
    """A time between two bounds."""

    low: Time = Field(description="At the earliest.")
    expected: Time = Field(description="The time that is expected.")
    high: Time = Field(description="At the latest.")


class QuotedRunnerOutput(Output):
    """What a host is expected to do with one runner."""

    runner_key: str = Field(description="The model and its load-time options.")
    jobs: int = Field(description="Number of jobs.")
    load_seconds: float = Field(description="Seconds of loading.")
    seconds: float = Field(description="Seconds of answering.")


class QuotedHostOutput(Output):
    """What a host is expected to do."""

    host: HostName
    loads: int = Field(description="Number of model loads.")
    jobs: int = Field(description="Number of jobs.")
    busy_seconds: float = Field(description="Seconds that it works.")
    runners: list[QuotedRunnerOutput] = Field(description="Its work by runner.")


class QuoteOutput(Output):
    """What jobs are expected to take."""

    at: Time = Field(description="The time of the estimate.")
    jobs: int = Field(description="Number of jobs.")
    sampled: int = Field(description="Number of jobs that were measured for it.")
    jobs_before: int = Field(description="Number of waiting jobs with a higher priority.")
    jobs_beside: int = Field(description="Number of waiting jobs with the same priority.")
    loads: int = Field(description="Number of model loads.")
    seconds: QuotedSecondsOutput = Field(description="How long it takes.")
    done_at: QuotedTimesOutput = Field(description="When it is done.")
    deadline: Time | None = Field(description="The deadline.")
    in_time: bool | None = Field(description="Whether it is done by the deadline; null without one.")
    guessed: list[str] = Field(description="What is not known and was guessed.")
    unplaced: list[str] = Field(description="Runner keys that no host can serve.")
    advice: str | None = Field(description="What would make it faster.")
    hosts: list[QuotedHostOutput] = Field(description="The work by host.")
