"""``CARAVAN_*`` variables and a TOML file → Settings, read once at the entry point; misspelt names are refused.

The order, strongest first: command line, environment, ``CARAVAN_CONFIG`` or
``CARAVAN_HOME/caravan.toml``, defaults. Everything below the entry points is handed plain values.
"""

import difflib
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from worker.domain.health import HealthLimits, Telling
from worker.domain.notices import Means
from worker.domain.timings import Timings
from worker.domain.urls import masked, masked_whole
from worker.errors import SettingsRefused
from worker.ollama.limits import Deadlines
from worker.replies.families import Marks, families_with

PREFIX = "CARAVAN_"


def _from_json(value: object) -> object:
    """A variable of the environment is a text; the settings file has lists."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else []
    except ValueError as error:
        raise ValueError('expected JSON such as [["<ponder>", "</ponder>"]]') from error


Tag = Annotated[str, Field(min_length=3, max_length=80)]
"""Shorter than three characters, any answer might begin with it."""


def _platform_home() -> Path:
    import platformdirs  # nobody needs it who names a home

    return Path(platformdirs.user_data_dir("caravan", appauthor=False))


class Settings(BaseModel):
    """Every setting. ``docs/reference/configuration.md`` is compared with this class."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: Path = Field(
        default_factory=_platform_home,
        description="Folder of the embedded database, the spool and the state.",
    )
    database_url: str = Field(
        "",
        description="SQLAlchemy URL of the database (`sqlite:///…`, `postgresql://…`); "
        "or where it stands, with its password: `env:NAME`, `file:PATH`; empty: the SQLite file `caravan.db` in `CARAVAN_HOME`.",
    )
    broker_url: str = Field(
        "",
        description="Redis URL for the wake-ups of a fleet (`redis://…`, `rediss://…`), or `env:NAME`, `file:PATH`; "
        "embedded use needs none.",
    )
    config: Path | None = Field(
        None, description="TOML file with settings, names in lower case without the prefix."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level of events that are logged."
    )
    log_style: Literal["line", "json"] = Field("line", description="Log lines for people or for machines.")
    max_attempts: int = Field(
        3, ge=1, le=100, description="Attempts of a job that may fail by its own fault."
    )
    allow_pull: bool = Field(
        False, description="Producers of a fleet may have models pulled onto its hosts (`--pull-missing`)."
    )
    fail_on_cut: bool = Field(
        False, description="An answer cut by num_predict or a full window is a failure."
    )
    lease_seconds: float = Field(90, gt=0, description="How long a claim holds without being renewed.")
    renew_seconds: float = Field(
        20, gt=0, description="How often leases are renewed; at most a third of the lease."
    )
    cancel_poll_seconds: float = Field(2, gt=0, description="How often a worker looks for cancel flags.")
    tick_seconds: float = Field(
        5, gt=0, description="How often stale leases are rescued and idle hosts woken."
    )
    chores_seconds: float = Field(
        15, gt=0, description="How often counts are folded and finished batches settled."
    )
    linger_seconds: float = Field(
        5, ge=0, description="How long a host without work waits before its worker returns."
    )
    idle_poll_seconds: float = Field(0.5, gt=0, description="How often a lingering host looks for work.")
    group_seconds: float = Field(
        0.1, ge=0, description="Outcomes of short calls are stored together this often."
    )
    unload_seconds: float = Field(30, gt=0, description="How long an unloaded model may stay in `/api/ps`.")
    connect_seconds: float = Field(5, gt=0, description="Time to connect to a host.")
    first_byte_seconds: float = Field(600, gt=0, description="Time to the first byte of a reply.")
    silence_seconds: float = Field(120, gt=0, description="Longest silence within a reply.")
    reply_seconds: float = Field(3600, gt=0, description="Time for a whole reply.")
    load_timeout_seconds: float = Field(660, gt=0, description="Time for a load; above OLLAMA_LOAD_TIMEOUT.")
    reasoning_tags: Annotated[list[tuple[Tag, Tag]], BeforeValidator(_from_json)] = Field(
        [],
        description="Further tags of reasoning, opening and closing, for models that the table of families does not "
        'know: `[["<ponder>", "</ponder>"]]`.',
    )
    floor_tokens_per_second: float = Field(
        0.1,
        ge=0,
        description="A reply that is slower for a minute is given up, and its runner unloaded; 0: no limit.",
    )
    stop_grace_seconds: float = Field(
        30, ge=0, description="How long running calls may end after a fast stop."
    )
    hang_seconds: float = Field(
        600, gt=0, description="A serving loop that does not turn for so long, loads aside, ends its process."
    )
    disk_free_mb: int = Field(
        500, ge=0, description="`caravan health`: less room than this on a disk of ours is a fault."
    )
    oldest_job_hours: float = Field(
        24, ge=0, description="`caravan health`: a queued job older than this is a fault; 0: no limit."
    )
    health_address: str = Field(
        "",
        description="`caravan up` and `control` answer `GET /healthz` here, e.g. `127.0.0.1:9464`; "
        "a port alone is for this machine.",
    )
    keep_days: float = Field(
        0,
        ge=0,
        description="Prompts and answers of batches that ended longer ago are pruned; 0: never. "
        "The counts stay.",
    )
    smtp_url: str = Field(
        "",
        description="Mail server for health mails: `smtp://USER@HOST:587/?from=…&password=env:NAME`.",
    )
    mail_to: str = Field("", description="Addressees of health mails, separated by commas.")
    ping_url: str = Field(
        "",
        description="Requested every minute while all is well, with `/fail` behind it when not.",
    )
    webhook_key: str = Field(
        "",
        description="Signs webhooks that name no key of their own: `whsec_…`, `env:NAME` or `file:PATH`; "
        "empty: they are not signed.",
    )
    notify_commands: bool | None = Field(
        None,
        description="Run the commands that batches and schedules name (`--notify-command`, `--extract`): by "
        "default on one machine, not on a fleet.",
    )

    @property
    def database(self) -> str:
        """The database's URL, the embedded one where none is set."""
        if self.database_url:
            return self.database_url
        from worker.storage.engine import sqlite_url  # SQLAlchemy costs a quarter of a second to import

        return sqlite_url(self.home / "caravan.db")

    @field_validator("home", "config", mode="before")
    @classmethod
    def _expand(cls, value: object) -> object:
        """``~`` and ``~user``: nothing else expands them in a unit of systemd, a compose file or the settings file."""
        return _expanded(value)

    @field_validator("database_url", "broker_url", mode="before")
    @classmethod
    def _referred(cls, value: object) -> object:
        """``env:NAME`` or ``file:PATH``: where the URL stands, with its password. Raises SettingsRefused."""
        text = value.strip() if isinstance(value, str) else ""
        if not text.startswith(("env:", "file:")):
            return value
        from worker.ollama.secrets import resolved

        return resolved(text).strip()

    @field_validator("log_level", "log_style", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @property
    def timings(self) -> Timings:
        return Timings(
            lease=self.lease_seconds,
            renew=min(self.renew_seconds, self.lease_seconds / 3),
            cancel_poll=self.cancel_poll_seconds,
            tick=self.tick_seconds,
            linger=self.linger_seconds,
            idle_poll=self.idle_poll_seconds,
            group=self.group_seconds,
            unload=self.unload_seconds,
        )

    @property
    def health_limits(self) -> HealthLimits:
        oldest = timedelta(hours=self.oldest_job_hours) if self.oldest_job_hours else None
        return HealthLimits(disk_free=self.disk_free_mb * 1_000_000, oldest_job=oldest)

    @property
    def families(self) -> Sequence[Marks]:
        """How families of models mark their reasoning, those of this configuration first."""
        return families_with(self.reasoning_tags)

    @property
    def keep(self) -> timedelta | None:
        """How long batches are kept that say nothing else; None: for ever."""
        return timedelta(days=self.keep_days) if self.keep_days else None

    @property
    def telling(self) -> Telling:
        return Telling(self.smtp_url, self.mail_to, self.ping_url, self.health_address)

    @property
    def means(self) -> Means:
        commands = not self.broker_url if self.notify_commands is None else self.notify_commands
        return Means(self.telling, self.webhook_key, commands)

    @property
    def deadlines(self) -> Deadlines:
        return Deadlines(
            connect=self.connect_seconds,
            first_byte=self.first_byte_seconds,
            silence=self.silence_seconds,
            total=self.reply_seconds,
            load=self.load_timeout_seconds,
            floor_tokens_per_second=self.floor_tokens_per_second,
        )


def load_settings(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings. Raises SettingsRefused that names the setting, where it stands and what was expected.

    An empty variable is unset. ``CARAVAN_TEST_*`` belongs to the test suite and is passed over, and so is what Kubernetes
    sets for a service called ``caravan`` or ``caravan-…``. Another unknown variable is refused where it is nearly the name
    of a setting, and warned of where it is not; an unknown name in the settings file is refused.
    """
    return settings_with_origins(environ, **overrides)[0]


def settings_with_origins(
    environ: Mapping[str, str] | None = None, **overrides: Any
) -> tuple[Settings, dict[str, str]]:
    """The settings, and where each was said: a variable, an option, a line of the file, or ``default``. Raises
    SettingsRefused."""
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or variable.startswith("CARAVAN_TEST_") or not value.strip():
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name in Settings.model_fields:
            values[name], origin[name] = value, variable
        elif not _of_kubernetes(variable, value):
            _unknown_variable(name, variable)
    overrides = {name: value for name, value in overrides.items() if value is not None}
    for name, value in overrides.items():
        values[name], origin[name] = value, f"--{name.replace('_', '-')}"
    for name, value in _file(values).items():
        if name not in values:
            values[name], origin[name] = value, f"{name} in the settings file"
    try:
        return Settings(**values), {name: origin.get(name, "default") for name in Settings.model_fields}
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise SettingsRefused(
            f"{origin.get(name, name)}: {_complaint(first)} (got {_input(name, first['input'])})"
        ) from error


_EXPECTED = {
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "true or false"),
}


def _complaint(error: Mapping[str, Any]) -> str:
    """What a value should be, in the words of the command line."""
    if error["type"] in _EXPECTED:
        return f"expected {_EXPECTED[error['type']]}"
    message = str(error["msg"]).removeprefix("Value error, ")
    return message.replace("Input should be ", "expected a number " if "than" in message else "expected ")


def _input(name: str, value: object) -> str:
    """A refused value for people to see. What is in a list or a table may be a secret."""
    if isinstance(value, str | int | float):
        return repr(masked_setting(name, value))
    return f"a {type(value).__name__}"


def _file(settings: Mapping[str, Any]) -> dict[str, Any]:
    path, required = settings.get("config"), True
    if path is None:
        home = settings.get("home") or Settings.model_fields["home"].get_default(call_default_factory=True)
        path, required = Path(home) / "caravan.toml", False
    try:
        path = _expanded(path)
    except ValueError as error:
        raise SettingsRefused(f"{path}: {error}") from error
    try:
        text = Path(path).read_bytes()
    except FileNotFoundError as error:
        if required:
            raise SettingsRefused(f"{path}: no such settings file") from error
        return {}
    except OSError as error:
        raise SettingsRefused(f"{path}: {error}") from error
    import tomllib  # most homes have no settings file

    try:
        values = tomllib.loads(text.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsRefused(f"{path}: {error}") from error
    for name in values:
        _check_name(name, f"{name} in {path}")
    return values


def _expanded(path: Any) -> Any:
    """Raises ValueError for ``~user`` of nobody."""
    if not isinstance(path, str | Path):
        return path
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(str(error)) from error


_KUBERNETES = re.compile(
    r"CARAVAN_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)?)"
)


def _of_kubernetes(variable: str, value: str) -> bool:
    """Kubernetes sets these in every pod beside a service called ``caravan``, or ``caravan-something``.

    ``…_PORT`` alone is an address there: ``tcp://10.0.0.7:80``.
    """
    if not _KUBERNETES.fullmatch(variable):
        return False
    return not variable.endswith("_PORT") or "_SERVICE_" in variable or "_TCP" in variable or "://" in value


def _check_name(name: str, written: str) -> None:
    """Raises SettingsRefused for a name of the settings file that is no setting."""
    if name not in Settings.model_fields:
        raise SettingsRefused(f"unknown setting {written}{_suggestion(name, cutoff=0.6)}")


def _unknown_variable(name: str, variable: str) -> None:
    """Raises SettingsRefused for what is nearly the name of a setting; any other may be of somebody else."""
    hint = _suggestion(name, cutoff=0.75, prefix=PREFIX)
    if hint:
        raise SettingsRefused(f"unknown setting {variable}{hint}")
    _warn(f"caravan: {variable} is no setting of Caravan and is ignored")


@cache
def _warn(message: str) -> None:
    logging.getLogger("caravan.settings").warning(message)


def _suggestion(name: str, *, cutoff: float, prefix: str = "") -> str:
    names = list(Settings.model_fields)
    near = difflib.get_close_matches(name, names, n=1, cutoff=cutoff)
    near = near or [each for each in names if each.startswith(f"{name}_") or name.startswith(f"{each}_")]
    if not near:
        return ""
    right = prefix + near[0].upper() if prefix else near[0]
    return f", did you mean {right}?"


def masked_setting(name: str, value: object) -> Any:
    """The value of a setting for people to see, without the secrets in it."""
    if name == "webhook_key" and value and not str(value).startswith(("env:", "file:")):
        return "***"
    if name == "ping_url":
        return masked_whole(str(value))
    if isinstance(value, str):
        return masked(value)
    return value if isinstance(value, bool | int | float) or value is None else str(value)
