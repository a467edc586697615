"""What jobs are expected to take."""

from pydantic import Field

from api_schemas.shown.base import HostName, Shown, Time


class QuotedSecondsShown(Shown):
    """A duration between two bounds."""

    low: float = Field(description="Seconds at least.")
    expected: float = Field(description="Seconds that are expected.")
    high: float = Field(description="Seconds at most.")


class QuotedTimesShown(Shown):
    """A time between two bounds."""

    low: Time = Field(description="At the earliest.")
    expected: Time = Field(description="The time that is expected.")
    high: Time = Field(description="At the latest.")


class QuotedRunnerShown(Shown):
    """What a host is expected to do with one runner."""

    runner_key: str = Field(description="The model and its load-time options.")
    jobs: int = Field(description="Number of jobs.")
    load_seconds: float = Field(description="Seconds of loading.")
    seconds: float = Field(description="Seconds of answering.")


class QuotedHostShown(Shown):
    """What a host is expected to do."""

    host: HostName
    loads: int = Field(description="Number of model loads.")
    jobs: int = Field(description="Number of jobs.")
    busy_seconds: float = Field(description="Seconds that it works.")
    runners: list[QuotedRunnerShown] = Field(description="Its work by runner.")


class QuoteShown(Shown):
    """What jobs are expected to take."""

    at: Time = Field(description="The time of the estimate.")
    jobs: int = Field(description="Number of jobs.")
    sampled: int = Field(description="Number of jobs that were measured for it.")
    jobs_before: int = Field(description="Number of waiting jobs with a higher priority.")
    jobs_beside: int = Field(description="Number of waiting jobs with the same priority.")
    loads: int = Field(description="Number of model loads.")
    seconds: QuotedSecondsShown = Field(description="How long it takes.")
    done_at: QuotedTimesShown = Field(description="When it is done.")
    deadline: Time | None = Field(description="The deadline.")
    in_time: bool | None = Field(description="Whether it is done by the deadline; null without one.")
    guessed: list[str] = Field(description="What is not known and was guessed.")
    unplaced: list[str] = Field(description="Runner keys that no host can serve.")
    advice: str | None = Field(description="What would make it faster.")
    hosts: list[QuotedHostShown] = Field(description="The work by host.")
