"""Which options have an effect beside which others: one that would have none is refused, never dropped.

The rules are one table. A place in a rule is an option as it is typed (``--seed``), an argument (``FILE``), or either with a
pattern for its value (``--long=split``, ``-o=*.csv``). What only the input or the database shows is refused where it is
read, with the same code, ``cannot_apply``. Options that allow something (``--force``, ``--yes``) need no rule.
"""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from worker.errors import InputRefused, Problem
from worker.records import record


@record
class Rule:
    """``option`` has no effect without one of ``needs``, or beside one of ``excludes``; ``why`` completes the sentence.

    With ``where`` the rule holds only beside one of these.
    """

    option: str
    why: str
    needs: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    where: tuple[str, ...] = ()

    def broken(self, options: Mapping[str, Any]) -> str | None:
        """What is wrong with the ``options`` (place → value), as a sentence; None where nothing is."""
        if not _is_given(self.option, options) or (self.where and not _any(self.where, options)):
            return None
        name = self.option.partition("=")[0]
        if self.needs and not _any(self.needs, options):
            return f"{name} {self.why}; it has no effect without {_listed(self.needs)}"
        beside = next((exclude for exclude in self.excludes if _is_given(exclude, options)), None)
        return None if beside is None else f"{name} has no effect beside {_label(beside)}: {self.why}"


def _is_given(place: str, options: Mapping[str, Any]) -> bool:
    name, _, pattern = place.partition("=")
    if name not in options:
        return False
    return not pattern or fnmatchcase(str(options[name]).lower(), pattern)


def _any(places: Sequence[str], options: Mapping[str, Any]) -> bool:
    return any(_is_given(place, options) for place in places)


def _label(place: str) -> str:
    """A place as it is typed.

    >>> _label("--long=split"), _label("-o=*.csv"), _label("FILE")
    ('--long split', '-o *.csv', 'FILE')
    """
    return place.replace("=", " ", 1).replace("[!-]*", "FILE")


def _listed(places: Sequence[str]) -> str:
    shown = list(dict.fromkeys(map(_label, places)))
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"


def _each(*options: str, **rule: Any) -> Iterator[Rule]:
    return (Rule(option, **rule) for option in options)


_TEXT_TABLES = ("-o=*.csv", "-o=*.csv.gz", "-o=*.tsv", "-o=*.tsv.gz")
_TO_FILE = ("-o=[!-]*",)
_SELECTION = ("--state", "--code", "--cut", "--empty", "--prompt-fit")
_SETTINGS = (
    *(
        "--model",
        "--set",
        "--think",
        "--format",
        "--repairs",
        "--allow-empty",
        "--keep-alive",
        "--truncate",
        "--priority",
    ),
    *("--system", "--by", "--expire", "--reuse", "--reuse-any"),
)

_SPOKEN = ("--system", "--think", "--format", "--repairs", "--allow-empty", "--fail-on-cut")

_HOURS = (Rule("--tz", "is the time zone of --window and --blackout", needs=("--window", "--blackout")),)
_CLOCK = (
    Rule(
        "--tz", "is the time zone of --by, --window and --blackout", needs=("--by", "--window", "--blackout")
    ),
)
_NOTIFY = "says when to notify those that are named"
_NOTICES = (
    Rule("--notify", _NOTIFY, needs=("--mail-to", "--webhook", "--notify-command")),
    Rule("--webhook-key", "signs webhooks", needs=("--webhook",)),
)
_FORM = "is the format of the files of answers"
_ROWS = (
    Rule("--template", "both set the prompt; give one", excludes=("--prompt",)),
    *_each("--chat", *_SPOKEN, why="a vector is no answer in words", excludes=("--embed",)),
    Rule("--repairs", "says how often an answer is asked again that does not fit its format",
         needs=("--format",), where=("--prompt", "--template", "--documents")),
    Rule("--override", "puts settings of the command in place of those of the rows", needs=(*_SETTINGS, "--from")),
)  # fmt: skip
_BATCH = (
    *_ROWS,
    *_CLOCK,
    *_NOTICES,
    Rule("--seed", "chooses the rows of --sample", needs=("--sample",)),
    Rule("--documents", "both name the input; give one", excludes=("FILE", "--from")),
    Rule("--from", "both name the input; give one", excludes=("FILE",)),
    Rule("--from-sql", "both name the input; give one", excludes=("FILE", "--from", "--documents")),
    Rule("--sql-url", "is the database of --from-sql", needs=("--from-sql",)),
    *_each("--encoding", "--quote", "--delimiter", "--sheet", why="is for a file of rows", excludes=("--from-sql",)),
    *_each("--root", "--exclude", "--long", "--pages-as-images", "--scans", "--extract", "--rows", why="is for documents",
           needs=("--documents",)),
    *_each("--scans", "--extract", "--rows", why="the pages are not read, but shown", excludes=("--pages-as-images",)),
    Rule("--combine", "combines the answers to the parts of long documents", needs=("--long=split",)),
    *_each("--chat", "--embed", why="the answers to the parts are combined by a prompt", excludes=("--combine",)),
    Rule("--id", "the id of a document is its path", excludes=("--documents",)),
    *_each("--quote", "--delimiter", "--sheet", why="tables among documents are read by their endings",
           excludes=("--documents",)),
    Rule("--image", "names a column of a file of rows", excludes=("--documents",)),
    Rule("--image", "hosts make vectors of texts alone", excludes=("--embed",)),
    Rule("--on-bad-line=refuse", "documents that cannot be read are always left out and named",
         excludes=("--documents",)),
    *_each(*_SELECTION, why="says which rows of --from BATCH are asked again", needs=("--from",)),
    *_each("--prompt", "--template", "--id", "--encoding", "--quote", "--delimiter", "--sheet", "--image", "--show", "--dry-run",
           why="rows are asked again as they were; it is for a FILE", excludes=("--from",)),
    Rule("--dry-run", "the one prints prompts, the other what they take; give one", excludes=("--show",)),
    *_each("--extend", "--retry-failed", "--key", why="a new batch has no earlier jobs, and a key of its own",
           excludes=("--new",)),
    Rule("--drop-missing", "deletes what a changed input has no longer", needs=("--extend",)),
    *_each("--limit", "--sample", why="a part of the input does not show which rows are missing",
           excludes=("--drop-missing",)),
    Rule("--extend", "a key names its batch, whatever the input says", excludes=("--key",)),
    Rule("--extend", "takes a changed input into the batch of its name", needs=("--name",), where=("FILE=-",)),
)  # fmt: skip
_SNAPSHOT = (
    *(
        "-o",
        "--state",
        "--after",
        "--follow",
        "--model",
        "--code",
        "--since",
        "--until",
        "--where",
        "--matching",
    ),
    *(
        "--cut",
        "--empty",
        "--prompt-fit",
        "--with",
        "--without",
        "--wide",
        "--as",
        "--bom",
        "--raw",
        "--delimiter",
    ),
)
_RESULTS = (
    *_each("--to-sqlite", "--to-duckdb", excludes=_SNAPSHOT,
           why="a snapshot holds the report views of one batch, or of all, as they are"),
    Rule("--to-table", "a table takes each result once, by its number",
         excludes=("-o", "--as", "--after", "--follow", "--matching", "--wide", "--to-sqlite", "--to-duckdb")),
    Rule("--sql-url", "is the database of --to-table", needs=("--to-table",)),
    *_each("--bom", "--raw", "--delimiter", why="is for CSV", needs=("--as=csv", *_TEXT_TABLES)),
    Rule("--as", "is for standard output; a file is what its ending says", excludes=_TO_FILE),
    *_each(*_TO_FILE, "--as=csv", "--wide", "--matching", excludes=("--after", "--follow"),
           why="results as they come are JSON lines on standard output, not in the order of the input"),
)  # fmt: skip
_TABLE_OF_RUN = (
    *_each("--bom", "--raw", "--output-delimiter", why="is for CSV", needs=_TEXT_TABLES),
    Rule("--wide", "says how the results are written", needs=("-o",)),
)

RULES: Mapping[str, tuple[Rule, ...]] = {
    "": (Rule("-q", "give one", excludes=("-v",)),),
    "run": (*_BATCH, *_TABLE_OF_RUN),
    "submit": _BATCH,
    "quote": (*_BATCH, *_TABLE_OF_RUN),
    "results": _RESULTS,
    "status": tuple(_each("--state", "--limit", why="is for the list of batches", excludes=("BATCH",))),
    "edit": (
        *_HOURS,
        *_each("--window", "--blackout", "--no-window", why="hours are those of a whole batch, and set alone",
               excludes=("--priority", "--job", "--state", "--model", "--where")),
        *_each("--window", "--blackout", why="give one", excludes=("--no-window",)),
    ),
    "up": (Rule("--slots", "says how many requests the hosts of --host serve at a time", needs=("--host",)),),
    "hosts add": (
        *_HOURS,
        Rule("--bearer=*:*", "a request has one kind of credentials", excludes=("--basic-auth=*:*",)),
        Rule("--ca-file=?*", "checks the certificate of an https address",
             needs=("URL=https:*", "--ca-file=none")),
    ),
    "hosts set": (
        *_HOURS,
        *_each("--window", "--blackout", why="give one", excludes=("--no-window",)),
        Rule("--bearer=*:*", "a request has one kind of credentials", excludes=("--basic-auth=*:*",)),
    ),
    "schedule add": (
        *_NOTICES,
        *_ROWS[:1],
        Rule("--form", _FORM, needs=("-o", "--beside")),
    ),
    "schedule file": (
        Rule("notify", _NOTIFY, needs=("mail_to", "webhook", "command")),
        Rule("webhook_key", "signs webhooks", needs=("webhook",)),
        Rule("form", _FORM, needs=("output", "beside")),
    ),
}  # fmt: skip
"""Command → its rules. The empty name stands for the options before the command, ``schedule file`` for the fields of one."""


def refuse_idle(command: str, options: Mapping[str, Any]) -> None:
    """Raise InputRefused for options of ``command`` that would have no effect. ``options``: place → value, of what was typed."""
    problems = {
        message: Problem(0, rule.option.partition("=")[0], "cannot_apply", message)
        for rule in RULES.get(command, ())
        if (message := rule.broken(options)) is not None
    }
    if problems:
        raise InputRefused(list(problems.values()))


def command_line_values(ctx: Any, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What was typed, by every spelling of its option, or by the name of its argument in capitals. ``values``: of the
    parameters that count; default: all."""
    options: dict[str, Any] = {}
    values = ctx.params if values is None else values
    for param in ctx.command.params:
        source = ctx.get_parameter_source(param.name)
        if param.name not in values or source is None or source.name != "COMMANDLINE":
            continue
        value = values[param.name]
        if param.param_type_name == "argument":
            options[param.name.upper()] = value
        else:
            options |= dict.fromkeys((*param.opts, *param.secondary_opts), value)
    return options
