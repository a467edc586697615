"""The options of ``caravan schedule`` in groups."""

from typing import Annotated, Literal

import typer

from worker.cli.hours import WHEN
from worker.cli.json_output import AsJson
from worker.cli.options import INPUT, MODEL
from worker.records import record

ANSWERS = "Answers"

ScheduleName = Annotated[str, typer.Argument(metavar="NAME", help="As in caravan schedule list.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Replace = Annotated[bool, typer.Option("--replace", help="Overwrite an existing schedule of this name.")]


@record
class FiringOptions:
    """When a schedule fires."""

    cron: Annotated[
        str,
        typer.Option(
            "--cron", help="Minute hour day month weekday, by the clock of --tz.", rich_help_panel=WHEN
        ),
    ]
    misfire: Annotated[
        Literal["run", "skip"],
        typer.Option(
            "--misfire",
            help="Run a firing late that was missed because nothing was serving, or skip it.",
            rich_help_panel=WHEN,
        ),
    ] = "run"
    overlap: Annotated[
        Literal["refuse", "queue", "allow"],
        typer.Option(
            "--overlap",
            help="Refuse, queue or allow a firing while the last one has not ended.",
            rich_help_panel=WHEN,
        ),
    ] = "refuse"


@record
class NightOptions:
    """Which documents are asked, and which of them again."""

    documents: Annotated[
        list[str],
        typer.Option(
            "--documents", metavar="PATTERN", help="Documents to ask, e.g. 'inbox/**/*.pdf'; repeat."
        ),
    ]
    encoding: Annotated[
        str | None,
        typer.Option("--encoding", help="Encoding of text files. Default: detected: UTF-8, GB18030, UTF-16."),
    ] = None
    id: Annotated[
        str | None,
        typer.Option(
            "--id", metavar="COLUMN", help="Column that identifies a row of a table; default: its content."
        ),
    ] = None
    min_age: Annotated[
        str | None,
        typer.Option(
            "--min-age",
            metavar="TIME",
            help="Leave files that were changed within it to the next firing, e.g. 5m; default: 1m, by hand 0.",
        ),
    ] = None
    on_model_change: Annotated[
        Literal["keep", "rerun"],
        typer.Option(
            "--on-model-change",
            help="Keep answers of weights that no host has any more, or ask again.",
            rich_help_panel=MODEL,
        ),
    ] = "keep"
    ask_cut_again: Annotated[
        bool,
        typer.Option(
            "--ask-cut-again",
            help="Ask again where an answer was cut, is empty, or saw part of the prompt.",
            rich_help_panel=MODEL,
        ),
    ] = False


@record
class AnswerFileOptions:
    """Where answers are written."""

    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="DIR", help="Write answers there.", rich_help_panel=ANSWERS),
    ] = None
    beside: Annotated[
        bool, typer.Option("--beside", help="Write answers beside their documents.", rich_help_panel=ANSWERS)
    ] = False
    form: Annotated[
        Literal["md", "json"],
        typer.Option("--form", help="File format of the answers.", rich_help_panel=ANSWERS),
    ] = "md"


@record
class PutOptions:
    """What is done with the schedule."""

    replace: Replace = False
    show: Annotated[
        int | None,
        typer.Option(
            "--show",
            min=1,
            metavar="N",
            help="Print N rendered prompts and send nothing.",
            rich_help_panel=INPUT,
        ),
    ] = None
    json_: AsJson = False
