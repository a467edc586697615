"""The options of ``caravan schedule`` in groups."""

from typing import Annotated, Literal

import typer

from worker.cli.groups import option
from worker.cli.hours import WHEN
from worker.cli.json_output import AsJson
from worker.cli.options import INPUT, MODEL
from worker.records import record

ANSWERS = "Answers"

ScheduleName = Annotated[str, typer.Argument(metavar="NAME", help="As in caravan schedule list.")]
Yes = Annotated[bool, option("--yes -y", "Do not ask.")]
Replace = Annotated[bool, option("--replace", "Overwrite an existing schedule of this name.")]


@record
class FiringOptions:
    """When a schedule fires."""

    cron: Annotated[str, option("--cron", "Minute hour day month weekday, by the clock of --tz.", WHEN)]
    misfire: Annotated[
        Literal["run", "skip"],
        option(
            "--misfire", "Run a firing late that was missed because nothing was serving, or skip it.", WHEN
        ),
    ] = "run"
    overlap: Annotated[
        Literal["refuse", "queue", "allow"],
        option("--overlap", "Refuse, queue or allow a firing while the last one has not ended.", WHEN),
    ] = "refuse"


@record
class NightOptions:
    """Which documents are asked, and which of them again."""

    documents: Annotated[
        list[str],
        option("--documents", "Documents to ask, e.g. 'inbox/**/*.pdf'; repeat.", metavar="PATTERN"),
    ]
    encoding: Annotated[
        str | None, option("--encoding", "Encoding of text files. Default: detected: UTF-8, GB18030, UTF-16.")
    ] = None
    id: Annotated[
        str | None,
        option("--id", "Column that identifies a row of a table; default: its content.", metavar="COLUMN"),
    ] = None
    min_age: Annotated[
        str | None,
        option(
            "--min-age",
            "Leave files that were changed within it to the next firing, e.g. 5m; default: 1m, by hand 0.",
            metavar="TIME",
        ),
    ] = None
    on_model_change: Annotated[
        Literal["keep", "rerun"],
        option(
            "--on-model-change",
            "Keep answers of a version of the model that no host has any more, or ask again.",
            MODEL,
        ),
    ] = "keep"
    ask_cut_again: Annotated[
        bool,
        option(
            "--ask-cut-again",
            "Ask again where an answer was cut, is empty, or saw part of the prompt.",
            MODEL,
        ),
    ] = False


@record
class AnswerFileOptions:
    """Where answers are written."""

    output: Annotated[str | None, option("-o --output", "Write answers there.", ANSWERS, metavar="DIR")] = (
        None
    )
    beside: Annotated[bool, option("--beside", "Write answers beside their documents.", ANSWERS)] = False
    form: Annotated[Literal["md", "json"], option("--form", "File format of the answers.", ANSWERS)] = "md"


@record
class PutOptions:
    """What is done with the schedule."""

    replace: Replace = False
    show: Annotated[
        int | None, option("--show", "Print N rendered prompts and send nothing.", INPUT, min=1, metavar="N")
    ] = None
    json_: AsJson = False
