"""The installation: its health, its database, its settings."""

from typing import Any

from pydantic import Field

from api_schemas.output.base import Output, Time


class FindingOutput(Output):
    """One thing that is not as it should be."""

    kind: str = Field(description="What it is about: database, disk, hosts and others, as in --only.")
    about: str = Field(description="What of that kind: the name of a host, a path.")
    message: str = Field(description="What is wrong.")
    remedy: str = Field(description="What helps.")
    bad: bool = Field(description="Whether somebody has to act; false for a note.")


class HealthOutput(Output):
    """Whether all is well; ``GET /healthz`` answers the same."""

    well: bool = Field(description="Whether no finding is bad.")
    at: Time = Field(description="The time of this look.")
    findings: list[FindingOutput] = Field(description="All findings.")


class PromiseOutput(Output):
    """A promise of the database, and whether it is kept."""

    name: str = Field(description="Name of the promise.")
    promise: str = Field(description="The promise in words.")
    rows: int = Field(description="Number of rows that were looked at.")
    broken: int = Field(description="Number of places where it is broken.")
    places: list[str] = Field(description="The first five of these places.")


class CompactedOutput(Output):
    """What compacting the database gave."""

    bytes: int = Field(description="Bytes by which the file became smaller.")


class SpoolOutput(Output):
    """What became of answers that were set aside."""

    stored: int = Field(description="Number of answers that are stored now.")
    unwanted: int = Field(description="Number of answers whose jobs went on without them.")
    failed: int = Field(description="Number of answers that still cannot be stored; the log says why.")
    files: list[str] = Field(description="Files with answers that are left.")


class SettingOutput(Output):
    """A setting."""

    value: Any = Field(description="Its value, without the secrets in it.")
    origin: str = Field(description="Where it was set: a variable, a file or the default.")


class InfoOutput(Output):
    """Versions, database and settings."""

    caravan: str = Field(description="Version of Caravan.")
    python: str = Field(description="Version of Python.")
    platform: str = Field(description="Operating system and processor.")
    extras: list[str] = Field(description="Extras that are installed.")
    extras_not_installed: list[str] = Field(description="Extras that are not installed.")
    home: str = Field(description="Folder of the installation.")
    home_held_by_process: int | None = Field(description="Number of the process that serves it.")
    database: str = Field(description="URL of the database, without its password.")
    database_schema: str = Field(description="Version of its tables, or why it is not known.")
    serving: list[str] = Field(description="Hosts that a process serves.")
    hosts: int = Field(description="Number of hosts.")
    broker: str | None = Field(description="URL of the broker, without its password.")
    settings: dict[str, SettingOutput] = Field(description="All settings by name.")
