"""``caravan submit``: a batch into the database, for whoever serves."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.answers import answers_of
from worker.cli.documents import (
    Combine,
    Documents,
    Exclude,
    Long,
    PagesAsImages,
    Root,
    from_documents,
)
from worker.cli.hours import Blackout, Tz, Window, windows_of
from worker.cli.options import (
    AllowEmpty,
    AnyFile,
    By,
    Encoding,
    Expire,
    Extend,
    Format,
    From,
    FromCode,
    FromCut,
    FromEmpty,
    FromFit,
    FromState,
    IdColumn,
    Keep,
    KeepAlive,
    Limit,
    MailTo,
    MaxFailures,
    Models,
    Name,
    New,
    Notify,
    NotifyCommand,
    OnBadLine,
    Override,
    PriorityName,
    Prompt,
    PullMissing,
    Quoting,
    Repairs,
    RetryFailed,
    Reuse,
    ReuseAny,
    Sample,
    Seed,
    Set,
    ShowPrompts,
    System,
    TemplateFile,
    Think,
    WebhookKey,
    WebhookUrl,
    asked_again,
    checked_keep,
    notices_of,
    submission_of,
)
from worker.cli.outputs import Force, outputs_of
from worker.cli.settings import opened, settings_for

if TYPE_CHECKING:
    from rich.console import Console

    from worker.clock import Clock
    from worker.domain.hosts import Host
    from worker.door.observer import CheckModels
    from worker.errors import Problem
    from worker.settings import Settings
    from worker.storage.engine import Database


def submit(
    file: AnyFile = None,
    model: Models = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Idempotency key of your own; default: a hash of the input.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
    prompt: Prompt = None,
    template: TemplateFile = None,
    system: System = None,
    id_: IdColumn = None,
    encoding: Encoding = None,
    quote: Quoting = None,
    limit: Limit = None,
    sample: Sample = None,
    seed: Seed = 0,
    on_bad_line: OnBadLine = None,
    show: ShowPrompts = None,
    set_: Set = None,
    think: Think = None,
    format_: Format = None,
    repairs: Repairs = None,
    allow_empty: AllowEmpty = False,
    keep_alive: KeepAlive = None,
    priority: PriorityName = None,
    override: Override = False,
    pull_missing: PullMissing = False,
    name: Name = None,
    new: New = False,
    extend: Extend = False,
    retry_failed: RetryFailed = False,
    max_failures: MaxFailures = None,
    by: By = None,
    expire: Expire = False,
    window: Window = None,
    blackout: Blackout = None,
    tz: Tz = "UTC",
    force: Force = False,
    notify: Notify = "always",
    mail_to: MailTo = None,
    webhook: WebhookUrl = None,
    webhook_key: WebhookKey = None,
    notify_command: NotifyCommand = None,
    reuse: Reuse = False,
    reuse_any: ReuseAny = False,
    keep: Keep = None,
    from_: From = None,
    state: FromState = None,
    code: FromCode = None,
    cut: FromCut = False,
    empty: FromEmpty = False,
    prompt_fit: FromFit = None,
    documents: Documents = None,
    root: Root = None,
    exclude: Exclude = None,
    long: Long = "refuse",
    combine: Combine = None,
    pages_as_images: PagesAsImages = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it takes, as `caravan quote` does, and send nothing.")
    ] = False,
) -> None:
    """Put a batch in the database for whoever serves, and wake them. Prints its number.

    The same input (or key) submitted again is the same batch: nothing is doubled.

    Example: caravan submit prompts.jsonl --model qwen3:8b
    """
    import json

    from worker.cli.quoting import rest_of, warn_of_deadline
    from worker.cli.render import error_console
    from worker.cli.take_in import show_prompts, take_in
    from worker.cli.wake import wake
    from worker.door.rows import open_input

    settings = settings_for()
    submission = submission_of(
        prompt=prompt,
        template=template,
        system=system,
        id_column=id_,
        encoding=encoding,
        quote=quote,
        models=model,
        limit=limit,
        sample=sample,
        seed=seed,
        set_=set_,
        think=think,
        format_=format_,
        repairs=repairs,
        allow_empty=allow_empty,
        keep_alive=keep_alive,
        priority=priority,
        override=override,
        by=by,
        expire=expire,
        reuse=reuse,
        reuse_any=reuse_any,
        name=name,
        key=key,
        on_change="new" if new else "extend" if extend else "refuse",
        retry_failed=retry_failed,
        on_bad_line=on_bad_line,
        pull_missing=pull_missing,
        max_failures=max_failures,
        max_attempts=settings.max_attempts,
        keep=checked_keep(keep),
        window=tuple(window or ()),
        blackout=tuple(blackout or ()),
        tz=tz,
        notices=notices_of(
            settings,
            notify=notify,
            mail_to=mail_to,
            webhook=webhook,
            webhook_key=webhook_key,
            command=notify_command,
        ),
    )
    windows_of(window, blackout, tz)
    outputs = outputs_of(
        settings,
        force=force,
        documents=documents,
        file=file,
        template=template,
        prompt=prompt,
        system=system,
        format=None if format_ is None or format_ == "json" else f"@{format_.removeprefix('@')}",
        combine=combine,
        webhook_key=webhook_key,
    )
    given = from_documents(
        settings,
        submission,
        documents=documents,
        roots=root,
        exclude=exclude,
        long=long,
        combine=combine,
        as_images=pages_as_images,
        show=show,
        outputs=outputs,
    )
    if given is None:
        answers = answers_of(cut, empty, prompt_fit)
        rows, submission = asked_again(file, from_, state, code, answers, submission)
    else:
        rows, submission = given.rows, given.submission
    if show is not None:
        show_prompts(rows.file, submission, show)
        return
    if dry_run:
        from worker.cli.quote import quote_file

        raise typer.Exit(
            quote_file(settings, rows.file, submission, skip_bad=on_bad_line == "skip", as_json=json_)
        )
    if max_failures is not None:
        from worker.serving.brake import parse_max_failures

        parse_max_failures(max_failures)
    if str(rows.file) != "-" and rows.again is None:
        open_input(rows.file, submission)  # what is wrong with the command is said before anything else
    console = error_console()
    with opened(settings) as database:
        clock = database.clock()
        arrived = take_in(
            database,
            clock,
            settings,
            rows,
            submission,
            outputs=outputs,
            console=console,
            check_models=_models_checked(settings, database, clock, console, pull=pull_missing),
        )
        batch = arrived.batch
        wake(settings, database, clock)
        served = _served(settings, database, clock)
        deadline = arrived.batch.deadline
        quoted = None if deadline is None else rest_of(database, clock, batch)()
    created = arrived.created
    if json_:
        typer.echo(
            json.dumps(
                {
                    "batch": batch.id,
                    "key": batch.key,
                    "jobs": batch.jobs,
                    "created": created,
                    "served": served,
                }
            )
        )
    else:
        typer.echo(batch.id)
    note = "" if created or arrived.difference is not None else " (known already; nothing was added)"
    console.print(f"batch {batch.id} ({batch.name}): {batch.jobs:,} jobs{note}; caravan status {batch.id}")
    if quoted is not None:
        warn_of_deadline(console, quoted, deadline)
    if not served:
        start = "caravan worker --host NAME, with control and beat" if settings.broker_url else "caravan up"
        console.print(f"Nothing serves it now: start {start}", style="yellow")


def _models_checked(
    settings: "Settings", database: "Database", clock: "Clock", console: "Console", *, pull: bool
) -> "CheckModels":
    """Hosts are taken to have what they were last seen to have; one that was never seen may have anything."""
    from worker.cli.run import kept_hosts
    from worker.hosts.registry import look_again, missing_models
    from worker.storage.host_rows import read_hosts

    def check(wanted: Mapping[str, int]) -> "list[Problem]":
        with database.read() as conn:
            views = read_hosts(conn, clock.now())
        if not views or any(not view.looked for view in views):
            return []
        have = {model for view in views for model in view.models}
        missing = missing_models(wanted, have)
        if not missing or not pull:
            return missing
        from worker.cli.pulling import pull_models
        from worker.errors import SettingsRefused
        from worker.ollama.client import OllamaHost

        if settings.database_url and not settings.allow_pull:
            raise SettingsRefused(
                "--pull-missing: this fleet does not allow it; CARAVAN_ALLOW_PULL=true does"
            )

        def open_host(host: "Host") -> OllamaHost:
            return OllamaHost.of(host, deadlines=settings.deadlines)

        pull_models(
            [model for model in wanted if model not in have],
            kept_hosts(database),
            open_host=open_host,
            look_again=lambda host: look_again(database, host, open_host=open_host, clock=clock),
            console=console,
        )
        return []

    return check


def _served(settings: "Settings", database: "Database", clock: "Clock") -> bool:
    """Whether anybody takes the batch up by itself: a worker now, or ``up``, which may be between two passes."""
    from worker.storage.host_rows import read_hosts

    with database.read() as conn:
        if any(view.serving for view in read_hosts(conn, clock.now())):
            return True
    if settings.broker_url:
        return False
    from worker.errors import AlreadyRunning
    from worker.stack.home import held_home

    try:
        with held_home(settings.home, command="submit"):
            return False
    except AlreadyRunning as error:
        return error.command == "up"
