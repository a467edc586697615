"""``caravan search``: prompts and answers by their words."""

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.groups import BATCH_IN_WORDS
from worker.cli.json_output import AsJson, print_json
from worker.cli.settings import opened, settings_for
from worker.cli.streams import say
from worker.domain.numbers import count_of
from worker.domain.runners import normalise_model
from worker.storage.batches import find_batch

if TYPE_CHECKING:
    from worker.search.search import Field, SearchResult

ID_WIDTH = 60
CATCH_UP = 1.0
"""Seconds that a search takes in what came since, before it looks."""


def search(
    words: Annotated[
        list[str],
        typer.Argument(metavar="WORDS", help='Words that must all occur; "a phrase", -without, begin*.'),
    ],
    batch: Annotated[
        str | None,
        typer.Option("--batch", help=f"Only this batch. {BATCH_IN_WORDS}.", metavar="BATCH"),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="Only of this model; repeat for more.", metavar="MODEL"),
    ] = None,
    in_: Annotated[
        str, typer.Option("--in", metavar="FIELD,…", help="Fields to search: prompt, answer.")
    ] = "prompt,answer",
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Hits to show.")] = 20,
    catch_up: Annotated[
        bool, typer.Option("--catch-up", help="Index all new results first, however long it takes.")
    ] = False,
    json_: AsJson = False,
) -> None:
    """Find prompts and answers by their words, in any language.

    Searches jobs that have ended and lists the newest first. Case, accents and widths do not matter.

    Example: caravan search "out of memory" --in answer
    """
    from worker.search import search as service

    fields = parse_fields(in_)
    with opened(settings_for()) as database:
        service.catch_up(database, clock=database.clock(), most_seconds=None if catch_up else CATCH_UP)
        batch_id = None
        if batch is not None:
            with database.read() as conn:
                batch_id = find_batch(conn, batch).id
        result = service.search(
            database,
            " ".join(map(quoted_phrase, words)),
            batch_id=batch_id,
            models=[normalise_model(name) for name in model or ()],
            fields=fields,
            limit=limit,
        )
    if json_:
        from worker.exports.output.jobs import hits_output

        print_json(hits_output(result))
    else:
        _print(result)


search.context_settings = {"ignore_unknown_options": True}  # type: ignore[attr-defined]


def quoted_phrase(text: str) -> str:
    """A word of the command line: where the shell took the quotes off, it was a phrase. Raises typer.BadParameter."""
    if text.startswith("--"):
        raise typer.BadParameter(f"no such option: {text}", param_hint="search")
    minus, bare = ("-", text[1:]) if text.startswith("-") else ("", text)
    return f'{minus}"{bare}"' if " " in bare and '"' not in bare else text


def parse_fields(text: str) -> "list[Field]":
    """The fields of --in. Raises typer.BadParameter."""
    from worker.search.search import FIELDS

    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in FIELDS:
            raise typer.BadParameter(
                f"{name} is unknown; expected one of {', '.join(FIELDS)}", param_hint="--in"
            )
    return [field for field in FIELDS if field in names] or list(FIELDS)


def _print(result: "SearchResult") -> None:
    for hit in result.hits:
        text = hit.text
        name = text.custom_id if len(text.custom_id) <= ID_WIDTH else text.custom_id[: ID_WIDTH - 1] + "…"
        typer.echo(f"{text.job_id}  {text.batch_id}:{name}  {text.model}  {text.state}")
        typer.echo(f"  {hit.field}: {hit.snippet}")
    n = len(result.hits)
    more = "; there are more, --limit shows them" if result.more else ""
    say(f"{count_of(n, 'job')} found{more}")
    if result.progress.behind:
        message = (
            f"{count_of(result.progress.behind, 'result is', 'results are')} not searched yet; "
            "caravan search --catch-up reads them first"
        )
        say(message)
