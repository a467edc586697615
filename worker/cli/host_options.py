"""What ``caravan hosts add`` and ``set`` say of a host: its traits, and how requests are let in."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from worker.cli.groups import option

# What reads the database or speaks HTTP is imported within the commands: ``caravan --help`` needs none of it.
from worker.domain.hosts import Access
from worker.errors import SettingsRefused
from worker.records import record

if TYPE_CHECKING:
    pass

FORGET = "none"


@record
class HostTraits:
    """What a host can do."""

    slots: Annotated[
        int | None,
        option("--slots", "Requests at a time (its OLLAMA_NUM_PARALLEL). Default: learned.", min=1, max=1000),
    ] = None
    models: Annotated[
        int | None,
        option(
            "--models", "Models it holds at once (its OLLAMA_MAX_LOADED_MODELS); default 1.", min=1, max=1000
        ),
    ] = None
    memory: Annotated[str | None, option("--memory", "Memory for models, e.g. 24GB.", metavar="SIZE")] = None
    shared: Annotated[
        bool | None,
        option(
            "--shared/--not-shared", "Other people use this host too: unload models and pause while they do."
        ),
    ] = None
    watts: Annotated[
        float | None, option("--watts", "Power at work in watts, for kWh; 0 forgets it.", min=0, max=1e6)
    ] = None
    idle_watts: Annotated[
        float | None, option("--idle-watts", "Idle power in watts; 0 forgets it.", min=0, max=1e6)
    ] = None


@record
class AccessOptions:
    """How requests to a host are let in."""

    basic_auth: Annotated[
        str | None,
        option("--basic-auth", "Reference to USER:PASSWORD: env:NAME or file:PATH.", metavar="REF"),
    ] = None
    bearer: Annotated[
        str | None, option("--bearer", "Reference to a bearer token: env:NAME or file:PATH.", metavar="REF")
    ] = None
    header: Annotated[
        list[str] | None,
        option("--header", "Header and the reference to its value; repeat for more.", metavar="NAME=REF"),
    ] = None
    ca_file: Annotated[
        str | None,
        option(
            "--ca-file", "PEM file with the certificate authorities to trust for this host.", metavar="FILE"
        ),
    ] = None


def access_of(before: Access, options: AccessOptions) -> Access:
    """``before`` with what the options say. A bearer token takes the place of basic auth, and the other way round.

    Raises SettingsRefused.
    """
    headers = dict(before.headers)
    for pair in options.header or ():
        name, sign, reference = pair.partition("=")
        if not sign:
            raise SettingsRefused("--header is NAME=env:VARIABLE or NAME=file:PATH")
        headers.pop(name, None)
        if reference != FORGET:
            headers[name] = _absolute(reference)
    basic_auth, bearer, ca_file = options.basic_auth, options.bearer, options.ca_file
    access = replace(before, headers=tuple(headers.items()))
    if basic_auth is not None or bearer is not None:
        access = replace(
            access,
            basic_auth=None if basic_auth in (None, FORGET) else _absolute(basic_auth or ""),
            bearer=None if bearer in (None, FORGET) else _absolute(bearer or ""),
        )
    if ca_file is not None:
        access = replace(
            access, ca_file=None if ca_file == FORGET else str(Path(ca_file).expanduser().absolute())
        )
    return access


def _absolute(reference: str) -> str:
    """A file's path as it is from any directory: the host may be served from another."""
    kind, _, place = reference.partition(":")
    return f"file:{Path(place).expanduser().absolute()}" if kind == "file" and place else reference
