"""Every command with ``--json`` prints a shape of ``api_schemas/output``, with times in UTC and one name for each number."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, get_args

import pytest
import typer.main
from pydantic import TypeAdapter
from typer.testing import CliRunner

from api_schemas.output.base import plain
from api_schemas.output.commands import OUTPUTS
from simulator import HostSettings, demo_models, running
from tests.repo.docs.json_output import shapes
from worker.cli.commands import COMMANDS
from worker.cli.json_output import print_json
from worker.cli.main import app

MODEL = "llama3.2:3b"
CALLS: Mapping[str, str] = {
    "hosts add": "gpu-1 {url}",
    "hosts set": "gpu-1 --watts 300",
    "hosts list": "",
    "hosts ps": "",
    "hosts check": "gpu-1",
    "run": "in.jsonl --host gpu-1",
    "submit": "in.jsonl --new --name waits --by 08:00 --window 22:00-06:00 --webhook https://example.com/hook",
    "ask": f"Why? --model {MODEL}",
    "quote": "in.jsonl",
    "status": "waits",
    "jobs": "1",
    "explain": "waits",
    "search": "why",
    "report": "",
    "watch": "1",
    "pause": "waits --yes",
    "resume": "waits --yes",
    "edit": "waits --priority high --yes",
    "cancel": "waits --yes",
    "retry": "waits --state cancelled --yes",
    "notify list": "waits",
    "models": "",
    "models list": "",
    "models show": MODEL,
    "models pull": MODEL,
    "models cp": f"{MODEL} team/twin:1b",
    "models create": f"brief:1b --from {MODEL} --system Brief.",
    "models push": "--no-wait team/twin:1b",
    "models load": MODEL,
    "models stop": MODEL,
    "models rm": "brief:1b",
    "models operations": "",
    "hosts history": "gpu-1",
    "schedule add": "nightly --template read.j2 --cron '0 2 * * *' --documents inbox/* --model "
    + MODEL
    + " --output out",
    "schedule apply": "schedules.yaml --dry-run",
    "schedule run": "nightly",
    "schedule list": "",
    "schedule show": "nightly",
    "schedule history": "nightly",
    "schedule files": "nightly",
    "health": "",
    "info": "",
    "db check": "",
    "db retry-spool": "",
    "prune": "1 --yes",
    "delete": "waits --yes",
    "db compact": "",
    "demo": "",
}
"""In this order, on one home. A command that is not here has no example of what it prints: add one."""


def commands() -> Iterator[str]:
    """Every command that has ``--json``, groups included that do something by themselves."""

    def walk(name: str, command: Any) -> Iterator[str]:
        if any("--json" in param.opts for param in command.params):
            yield name
        for inner, child in getattr(command, "commands", {}).items():
            yield from walk(f"{name} {inner}", child)

    root: Any = typer.main.get_command(app)
    for name in COMMANDS:
        yield from walk(name, root.get_command(None, name))


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("outputs")
    (folder / "inbox").mkdir()
    (folder / "inbox" / "a.txt").write_text("An invoice.")
    (folder / "read.j2").write_text("Sum up: {{ document.text }}")
    (folder / "in.jsonl").write_text(
        "".join(f'{{"model": "{MODEL}", "prompt": "why {n}"}}\n' for n in range(2))
    )
    (folder / "schedules.yaml").write_text(
        f"name: other\ncron: 0 3 * * *\ndocuments: [inbox/*]\nmodel: {MODEL}\ntemplate: read.j2\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("CARAVAN_HOME", str(folder / "home"))
        patch.setattr("worker.cli.model_work.LOOK_SECONDS", 0.05)
        patch.setattr("worker.stack.demo.demo_file", lambda: folder / "in.jsonl")
        with running(HostSettings("gpu-1", demo_models(), time_scale=0)) as (host,):
            yield {name: printed(name, arguments.format(url=host.url)) for name, arguments in CALLS.items()}


def printed(name: str, arguments: str) -> str:
    done = CliRunner().invoke(app, [*name.split(), *shlex.split(arguments), "--json"])
    assert done.exit_code in (0, 1, 3) and done.stdout, f"{name}: {done.output}"
    assert not isinstance(done.exception, Exception), (name, done.exception)
    return done.stdout


def test_each_command_with_json_has_its_shape_and_an_example() -> None:
    assert set(commands()) == set(OUTPUTS) == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_what_a_command_prints_is_its_shape(name: str, outputs: Mapping[str, str]) -> None:
    read = json.loads(outputs[name])

    value: Any = TypeAdapter(OUTPUTS[name]).validate_json(outputs[name])

    if name == "ask":  # a result line leaves out what most lines do not have
        assert read.keys() <= type(value).model_fields.keys()
    else:
        assert plain(value) == read


@pytest.mark.parametrize("name", CALLS)
def test_times_end_in_z_and_numbers_have_one_name(name: str, outputs: Mapping[str, str]) -> None:
    text = outputs[name]

    assert re.findall(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?![\d:.Z])", text) == []
    assert re.findall(r'"(?:batch_id|job_id|operation_id)":', text) == []


def test_every_field_is_described_and_no_time_may_be_without_a_zone() -> None:
    for shape in shapes():
        for name, field in shape.model_fields.items():
            assert field.description, f"{shape.__name__}.{name}"
            assert datetime not in (field.annotation, *get_args(field.annotation)), f"{shape.__name__}.{name}"


def test_a_plain_dictionary_cannot_be_printed() -> None:
    rows: Any = [{"batch": 1}]

    with pytest.raises(TypeError, match="no dict"):
        print_json(rows)
    with pytest.raises(TypeError, match="no str"):
        print_json(rows[0])
