"""Every bound there is, with its value as the code has it: the table of ``docs/reference/limits.md``."""

from dataclasses import dataclass

from api_schemas import jobs, submit_message
from api_schemas.formats import LONGEST_SCHEMA
from api_schemas.generate import MOST_CONTEXT, MOST_IMAGES
from api_schemas.job_line import LONGEST_MODEL
from api_schemas.job_problems import MOST_PROBLEMS
from api_schemas.line_bounds import MOST_FIELDS, MOST_VALUES
from api_schemas.options import MOST_STOPS
from worker.documents import encodings, packed, parquet, row, sandbox, templates
from worker.documents.formats.limits import MOST_TEXT
from worker.documents.formats.rows import MOST_ROW
from worker.door import problems
from worker.exports import input_kinds
from worker.ollama.limits import MOST_MODELS
from worker.policy.retry import LONGEST_WAIT, MOST_LOSSES
from worker.replies import bounds
from worker.settings import Settings
from worker.storage import batches
from worker.storage.ids import MOST_JOBS

FIXED = "–"
JOB = "the line is refused by number and field (`too_large`)"
FILE = "the input is refused"
ROW = "the row is refused by its line"
HOST = "`bad_reply`: not charged, the host steps back"


@dataclass(frozen=True, slots=True)
class Limit:
    """One bound: of what, how much, where it is changed, and what happens beyond it."""

    what: str
    most: str
    change: str
    beyond: str


def _size(value: int) -> str:
    for unit, step in (("GB", 2**30), ("MB", 2**20), ("KB", 2**10)):
        if value >= step and value % step == 0:
            return f"{value // step} {unit}"
    return f"{value:,} bytes"


def _setting(name: str) -> tuple[str, str]:
    default = Settings.model_fields[name].default
    return f"{default:,g} s" if name.endswith("seconds") else f"{default:,g}", f"`CARAVAN_{name.upper()}`"


def limits() -> list[Limit]:
    """All of them, in the order of a job's way."""
    return [
        Limit("a file of a table", "any size; read a row at a time", FIXED, FIXED),
        Limit(
            "a packed file (`.gz`)",
            f"{_size(packed.UNPACKED_FREELY)} unpacked, or {packed.UNPACKED_RATIO} times its size",
            "unpack it yourself",
            FILE,
        ),
        Limit("one line of JSONL", _size(jobs.MAX_LINE_BYTES), FIXED, JOB),
        Limit(
            "one row of CSV",
            f"{row.LINE_LIMIT // 2**20} million characters (2²⁰ each)",
            FIXED,
            f"{FILE}, with the line where the row begins",
        ),
        Limit(
            "one row of Parquet",
            f"{_size(row.LINE_LIMIT)}, of which each value takes {parquet.VALUE_BYTES} bytes beside its text",
            FIXED,
            f"{ROW} (`too_large`) before its values are made",
        ),
        Limit(
            "a Parquet file, by its own metadata",
            f"{_size(packed.UNPACKED_FREELY)} unpacked, or {packed.UNPACKED_RATIO} times its size",
            FIXED,
            FILE,
        ),
        Limit(
            "one row of a table among documents",
            f"{MOST_TEXT // 2**20} million characters (2²⁰ each), {_size(MOST_ROW)} of JSON, {MOST_VALUES:,} values",
            FIXED,
            f"{ROW} (`too_large`)",
        ),
        Limit(
            "all rows of a table among documents",
            f"{_size(packed.UNPACKED_FREELY)} of JSON, or {packed.UNPACKED_RATIO} times its size",
            "split the table",
            "the table is refused behind the rows so far",
        ),
        Limit("columns of a table", f"{row.MOST_COLUMNS:,}", FIXED, FILE),
        Limit("`--prompt @FILE`, `--template`, `--system @FILE`", _size(encodings.TEXT_LIMIT), FIXED, FILE),
        Limit("a rendered prompt or system", _size(templates.RENDERED_LIMIT), FIXED, ROW),
        Limit(
            "a text while a template is rendered",
            f"{sandbox.TEXT_LIMIT // 2**20} million characters (2²⁰ each)",
            FIXED,
            ROW,
        ),
        Limit(
            "all texts while a template is rendered",
            f"{sandbox.OUTPUT_LIMIT // 2**20} million characters (2²⁰ each)",
            FIXED,
            ROW,
        ),
        Limit("loops and calls of one rendering", f"{sandbox.STEP_LIMIT:,}", FIXED, ROW),
        Limit("a whole number in a template", f"{sandbox.BITS_LIMIT:,} bits", FIXED, ROW),
        Limit("`prompt`, `system`, `template`, `suffix`", f"{_size(jobs.MAX_PROMPT_BYTES)} each", FIXED, JOB),
        Limit("`metadata`", _size(jobs.MAX_METADATA_BYTES), FIXED, JOB),
        Limit("`custom_id`", "200 characters", FIXED, JOB),
        Limit("`model`", f"{LONGEST_MODEL} characters", FIXED, JOB),
        Limit(
            "`format` (a JSON Schema)",
            _size(LONGEST_SCHEMA),
            FIXED,
            "the line is refused by number and field",
        ),
        Limit("`images`", f"{MOST_IMAGES}", FIXED, JOB),
        Limit("`context`", f"{MOST_CONTEXT:,} token ids", FIXED, JOB),
        Limit("`options.stop`", f"{MOST_STOPS} texts of 1,000 characters", FIXED, JOB),
        Limit("values of one line", f"{MOST_VALUES:,}", FIXED, JOB),
        Limit("fields of one line, or of its `options`", f"{MOST_FIELDS}", FIXED, JOB),
        Limit("levels of JSON on a line", "200", FIXED, "the line is refused by its number (`invalid_json`)"),
        Limit(
            "digits of a whole number on a line",
            "4,300",
            FIXED,
            "the line is refused by its number (`invalid_json`)",
        ),
        Limit("problems reported for one line", f"{MOST_PROBLEMS}", FIXED, "the first ones are reported"),
        Limit("problems reported for one input", f"{problems.MOST_PROBLEMS}", FIXED, "the rest is counted"),
        Limit("jobs of a batch", f"{MOST_JOBS:,}", "split the input", FILE),
        Limit(
            "jobs of one Celery message",
            f"{submit_message.MOST_JOBS:,}",
            "send the jobs in parts",
            "the batch is `refused`",
        ),
        Limit("an idempotency key", f"{batches.LONGEST_KEY} characters", FIXED, "the batch is refused"),
        Limit("a batch's name", "300 characters", FIXED, "it is cut"),
        Limit(
            "attempts by the job's own fault",
            *_setting("max_attempts"),
            "the job has failed with the code of the last",
        ),
        Limit("deaths of a host or worker under one job", f"{MOST_LOSSES}", FIXED, "the job is held"),
        Limit(
            "wait between attempts",
            f"{LONGEST_WAIT.total_seconds() / 60:g} minutes, and a quarter",
            FIXED,
            FIXED,
        ),
        Limit("time to connect", *_setting("connect_seconds"), "`host_unreachable`"),
        Limit("time to the first byte", *_setting("first_byte_seconds"), "`no_first_byte`"),
        Limit("silence within a reply", *_setting("silence_seconds"), "`reply_stalled`"),
        Limit(
            "time for a whole reply",
            *_setting("reply_seconds"),
            "`too_slow`; the text is kept with the attempt",
        ),
        Limit("time for a load", *_setting("load_timeout_seconds"), "`load_failed`"),
        Limit("tokens a second, at least", *_setting("floor_tokens_per_second"), "`below_floor`"),
        Limit(
            "all text of one reply",
            _size(bounds.REPLY_BYTES),
            "`num_predict` of the job",
            "`reply_too_long`: the job has failed, what came is kept as its answer",
        ),
        Limit("one line of a reply", _size(bounds.LINE_BYTES), FIXED, HOST),
        Limit("levels of JSON of a host", f"{bounds.JSON_DEPTH}", FIXED, HOST),
        Limit("texts and brackets of one line of a host", f"{bounds.JSON_NODES:,}", FIXED, HOST),
        Limit(
            "an answer of `/api/tags`, `ps`, `show`, `version`",
            _size(bounds.PROBE_BYTES),
            FIXED,
            "the host is not used",
        ),
        Limit("models of one host", f"{MOST_MODELS:,}", FIXED, "the host is not used"),
        Limit("the body of a refusal of a host", _size(bounds.ERROR_BYTES), FIXED, "the rest is not read"),
        Limit("a message of a host", "2,000 characters, one line", FIXED, "it is cut"),
        Limit(
            "the wait that a busy host may ask for (`Retry-After`)",
            f"{Settings.model_fields['lease_seconds'].default / 3:g} s",
            "a third of `CARAVAN_LEASE_SECONDS`",
            "it is tried again then",
        ),
        Limit(
            "columns of results that come from `metadata`",
            f"{input_kinds.MOST_INPUT_COLUMNS}",
            FIXED,
            "a column `metadata` holds all",
        ),
    ]
