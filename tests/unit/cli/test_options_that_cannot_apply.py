"""An option that would have no effect is refused by its name, and never dropped."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from worker.cli.applicable import RULES, refuse_idle
from worker.cli.commands import COMMANDS
from worker.cli.main import Commands, app
from worker.errors import InputRefused

DOCUMENTS = "--documents '*.txt' --prompt '{{ document.text }}' --model m:1"
SCHEDULE = "schedule add n --cron '0 2 * * *' --documents '*.txt' --model m:1"
ROWS = "rows.csv --prompt 'Sum up: {{ text }}' --model m:1"

IDLE = [
    *(
        (f"{command} {rest}", option)
        for command in ("run", "submit")
        for rest, option in (
            (f"{ROWS} --seed 3", "--seed"),
            (f"{ROWS} --tz Europe/Berlin", "--tz"),
            (f"{ROWS} --notify failure", "--notify"),
            (f"{ROWS} --webhook-key env:KEY", "--webhook-key"),
            (f"{ROWS} --repairs 3", "--repairs"),
            ("jobs.jsonl --override", "--override"),
            *((f"{ROWS} --embed {one}", one.split()[0]) for one in ("--chat", "--system x", "--think", "--format json")),
            (f"{ROWS} --new --extend", "--extend"),
            (f"{ROWS} --new --retry-failed", "--retry-failed"),
            (f"{ROWS} --template t.j2", "--template"),
            (f"{ROWS} --long split", "--long"),
            (f"{ROWS} --root .", "--root"),
            (f"{ROWS} --exclude '*.tmp'", "--exclude"),
            (f"{ROWS} --pages-as-images", "--pages-as-images"),
            (f"{ROWS} --scans images", "--scans"),
            (f"{ROWS} --extract cat", "--extract"),
            (f"{ROWS} --rows", "--rows"),
            (f"{DOCUMENTS} --prompt x --model m:1 --pages-as-images --scans images", "--scans"),
            (f"{DOCUMENTS} --prompt x --model m:1 --pages-as-images --extract cat", "--extract"),
            (f"{ROWS} --combine t.j2", "--combine"),
            (f"{ROWS} --cut", "--cut"),
            (f"{ROWS} --state failed", "--state"),
            (f"rows.csv {DOCUMENTS}", "--documents"),
            (f"{DOCUMENTS} --from @last", "--documents"),
            (f"{DOCUMENTS} --id id", "--id"),
            (f"{DOCUMENTS} --quote none", "--quote"),
            (f"{DOCUMENTS} --on-bad-line refuse", "--on-bad-line"),
            (f"{DOCUMENTS} --combine t.j2", "--combine"),
            *((f"{DOCUMENTS} {one}", one.split()[0]) for one in ("--cut", "--empty", "--prompt-fit no", "--code cut")),
            ("rows.csv --from @last", "--from"),
            ("--from @last --show 1", "--show"),
            ("--from @last --encoding cp1252", "--encoding"),
            ("--from @last --prompt 'x {{ y }}'", "--prompt"),
            ("jobs.jsonl --quote none", "--quote"),
            ("rows.parquet --quote none", "--quote"),
            ("rows.csv --sheet 1", "--sheet"),
            ("jobs.jsonl --delimiter ;", "--delimiter"),
            (f"{DOCUMENTS} --image photo", "--image"),
            ("rows.csv --sql-url sqlite:///a.db", "--sql-url"),
            ("rows.csv --from-sql 'SELECT 1' --sql-url sqlite:///a.db", "--from-sql"),
            ("rows.parquet --encoding cp1252", "--encoding"),
        )
    ),
    (f"run {ROWS} --bom", "--bom"),
    (f"run {ROWS} --raw -o out.jsonl", "--raw"),
    (f"run {ROWS} --bom -o out.parquet", "--bom"),
    (f"submit {ROWS} --new --key k", "--key"),
    ("submit - --model m:1 --extend", "--extend"),
    (f"submit {ROWS} --extend --key k", "--extend"),
    (f"submit {ROWS} --show 1 --dry-run", "--dry-run"),
    ("submit --from @last --dry-run", "--dry-run"),
    (f"submit {ROWS} --expire", "--expire"),
    (f"quote {ROWS} --repairs 3", "--repairs"),
    ("quote jobs.jsonl --override", "--override"),
    (f"quote {ROWS} --seed 3", "--seed"),
    (f"quote {ROWS} --bom", "--bom"),
    *(
        (f"{command} {rest}", option)
        for command in ("results",)
        for rest, option in (
            ("@last --bom", "--bom"),
            ("@last --raw", "--raw"),
            ("@last --bom -o out.jsonl", "--bom"),
            ("@last --as jsonl -o out.csv", "--as"),
            ("@last --as csv --to-sqlite out.db", "--to-sqlite"),
            ("@last --cut --to-duckdb out.db", "--to-duckdb"),
            ("@last --follow -o out.csv", "-o"),
            ("@last --after 3 --wide", "--wide"),
            ("@last --follow --matching word", "--matching"),
            ("@last --follow --as csv", "--as"),
            ("@last --sql-url sqlite:///a.db", "--sql-url"),
            ("@last --to-table t --sql-url sqlite:///a.db -o out.csv", "--to-table"),
        )
    ),
    ("edit @last --priority high --tz Europe/Berlin", "--tz"),
    ("edit @last --priority high --window 22:00-06:00", "--window"),
    ("edit @last --window 22:00-06:00 --no-window", "--window"),
    ("edit @last --no-window --state queued", "--no-window"),
    ("up --slots 4", "--slots"),
    ("hosts add a http://127.0.0.1:9 --ca-file ca.pem", "--ca-file"),
    ("hosts add a http://127.0.0.1:9 --tz Europe/Berlin", "--tz"),
    ("hosts add a http://127.0.0.1:9 --bearer env:A --basic-auth env:B", "--bearer"),
    ("hosts set a --slots 2 --tz Europe/Berlin", "--tz"),
    ("hosts set a --window 22:00-06:00 --no-window", "--window"),
    (f"{SCHEDULE} --template t.j2 --form json", "--form"),
    (f"{SCHEDULE} --template t.j2 --notify failure", "--notify"),
    (f"{SCHEDULE} --template t.j2 --prompt x", "--template"),
    ("-q -v status", "-q"),
]  # fmt: skip

ALWAYS = {
    # what is asked, and of whom
    *("--model", "--chat", "--embed", "--truncate", "--prompt", "--template", "--system", "--set", "--think", "--no-think"),
    *("--format", "--allow-empty"),
    *("--keep-alive", "--priority", "--host", "--limit", "--sample", "--reuse", "--reuse-any", "--by", "--deadline"),
    # the batch, and what is written of it; --expire, --pull-missing and the like are refused or applied by the service
    *("--id", "--new", "--name", "--max-failures", "--keep", "--window", "--blackout", "--no-window", "--expire"),
    *("--pull-missing", "--on-bad-line", "--fail-on-cut", "--key", "--retry-failed", "--wait-hosts", "--slots", "-o", "--output"),
    *("--delimiter", "--sheet", "--image", "--measure"),
    *("--mail-to", "--webhook", "--notify-command", "--encoding", "--quote", "--exclude", "--json", "--show", "--dry-run"),
    # which jobs, which results
    *("--job", "--state", "--code", "--where", "--matching", "--cut", "--empty", "--prompt-fit", "--since", "--until"),
    *("--after", "--follow", "-f", "--with", "--without", "--wide", "--as", "--to-sqlite", "--to-duckdb"),
    # permissions, which hold where they are needed
    *("--yes", "-y", "--force", "--if-missing", "--replace"),
    # what stands before the command too
    *("--verbose", "-v", "--quiet", "-q", "--log-format"),
    # hosts and schedules
    *("--models", "--memory", "--basic-auth", "--bearer", "--header", "--ca-file", "--shared", "--not-shared", "--watts"),
    *("--idle-watts", "--url", "--cron", "--documents", "--tz", "--root", "--long", "--combine", "--pages-as-images"),
    *("--misfire", "--overlap", "--on-model-change", "--ask-cut-again", "--beside", "--wait", "--min-age", "--scans"),
    "--extract",
    "--rows",
}  # fmt: skip
"""Options that somebody looked at: each has an effect wherever its command takes it, but for the rules of ``RULES``."""

CONSIDERED = (
    *("run", "submit", "quote", "retry", "edit", "results", "jobs", "status", "up", "worker"),
    *("hosts add", "hosts set", "schedule add", "schedule run"),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    (tmp_path / "rows.csv").write_text("id,text\n1,Hello\n")
    (tmp_path / "jobs.jsonl").write_text('{"prompt": "Hello", "model": "m:1"}\n')
    (tmp_path / "t.j2").write_text("{{ document.text }}")
    (tmp_path / "a.txt").write_text("Hello.")
    parquet.write_table(pa.table({"prompt": ["Hello"]}), tmp_path / "rows.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARAVAN_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.parametrize(("line", "option"), IDLE)
def test_an_option_without_effect_is_refused_by_its_name(folder: Path, line: str, option: str) -> None:
    result = CliRunner().invoke(app, shlex.split(line))

    assert result.exit_code == 2, result.output
    told = [one for one in result.stderr.splitlines() if one.startswith("caravan: ")]
    assert all("no effect" in one for one in told)
    assert any(one.startswith(f"caravan: {option} ") for one in told)


@pytest.mark.parametrize(
    "line",
    [
        f"submit {ROWS} --sample 1 --seed 3",
        f"submit {ROWS} --window 22:00-06:00 --tz Europe/Berlin",
        f"submit {ROWS} --format json --repairs 1",
        "submit jobs.jsonl --repairs 1",
        "submit jobs.jsonl --override --set temperature=0",
        f"submit {ROWS} --by 2099-01-01T08:00 --expire",
        f"submit {DOCUMENTS} --long split --combine combine.j2",
        f"submit {ROWS} --on-bad-line skip",
        "hosts add a https://127.0.0.1:9 --basic-auth none --bearer env:A",
    ],
)
def test_options_that_belong_together_are_taken(folder: Path, line: str) -> None:
    (folder / "combine.j2").write_text("{% for part in parts %}{{ part.answer }}{% endfor %}")

    result = CliRunner().invoke(app, shlex.split(line))

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", CONSIDERED)
def test_every_option_was_considered(command: str) -> None:
    """A new option has a rule, or somebody says that it always has an effect."""
    ruled = {rule.option.partition("=")[0] for rule in RULES.get(command, ())}

    missing = [
        sorted(spelled)
        for spelled in _options(command)
        if not spelled & ruled and not spelled <= ALWAYS | {"--help"}
    ]

    assert not missing


def test_rules_name_options_that_there_are() -> None:
    commands = set(RULES) - {"schedule file", ""}
    known = {spelling for command in commands for spelled in _options(command) for spelling in spelled}
    places = {
        place
        for command in commands
        for rule in RULES[command]
        for place in (rule.option, *rule.needs, *rule.excludes, *rule.where)
    }

    assert {name for place in places if (name := place.partition("=")[0]).startswith("-")} <= known


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"notify": "failure"}, "notify"),
        ({"form": "json"}, "form"),
        ({"webhook_key": "env:K"}, "webhook_key"),
    ],
)
def test_fields_of_a_schedule_file_are_refused_too(said: dict[str, Any], field: str) -> None:
    with pytest.raises(InputRefused, match=rf"{re.escape(field)} .* has no effect without"):
        refuse_idle("schedule file", said)


def _options(command: str) -> list[set[str]]:
    """The spellings of each option of a command."""
    name, _, inner = command.partition(" ")
    assert name in COMMANDS
    group: Any = typer.main.get_command(app)
    assert isinstance(group, Commands)
    found: Any = group.get_command(None, name)
    if inner:
        found = found.commands[inner]
    return [
        {*param.opts, *param.secondary_opts} for param in found.params if param.param_type_name == "option"
    ]


def test_a_field_that_is_asked_for_and_left_out_is_refused(folder: Path) -> None:
    result = CliRunner().invoke(app, ["results", "--with", "reasoning,prompt", "--without", "prompt"])

    assert result.exit_code == 2
    assert "prompt is in --with too" in result.output
