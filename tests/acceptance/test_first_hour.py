"""The first hour of a person with a table of products, and the morning after a night in which much went wrong.

Commands run in this process, but for those that are interrupted. The thorough run has the 20,000 rows of a real table.
"""

import csv
import os
import re
import shlex
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typer.testing import CliRunner

import simulator
from simulator.faults import Fault
from tests.processes import CARAVAN, Processes
from tests.unit.documents.test_office_documents import workbook
from tests.waiting import wait_until
from worker.cli.main import app

ODD = (
    'a "quoted" kettle',
    "two\r\nlines",
    "绿茶 🍵",
    "=1+1",
    "-5,30",
    "naïve; café",
    " blanks around ",
    "x" * 20_000,
)
"""Cells that break careless readers and writers of tables."""


@dataclass
class Shell:
    """Types commands, and keeps what was seen."""

    transcript: list[str] = field(default_factory=list)

    def __call__(self, command: str, code: int = 0) -> str:
        """Run ``caravan COMMAND``; what it wrote to both streams. Raises AssertionError for another exit code."""
        done = CliRunner().invoke(app, shlex.split(command), prog_name="caravan")
        self.transcript += [f"$ caravan {command}", *done.output.splitlines()]
        assert done.exit_code == code, "\n".join(self.transcript[-40:])
        assert "Traceback" not in done.output
        return re.sub(r"\s+", " ", done.output)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    """A person in a folder of their own, whose failures are not tried again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARAVAN_MAX_ATTEMPTS", "1")
    return Shell()


@pytest.fixture
def host() -> Iterator[simulator.RunningHost]:
    """A host with two models that answers at once."""
    models = (simulator.SimulatedModel("a:1"), simulator.SimulatedModel("b:1"))
    with simulator.running(simulator.HostSettings(name="gpu-1", models=models, time_scale=0.001)) as (one,):
        yield one


def products(path: Path, rows: int) -> Path:
    """A table as a shop exports it: semicolons, a byte order mark, CRLF, and everything odd in its cells."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file, delimiter=";")
        table.writerow(["SKU", "Product name", "Colour", "Price"])
        for n in range(rows):
            odd = ODD[n // 40 % len(ODD)] if n % 40 == 7 else f"tea {n}"
            table.writerow([f"SKU-{n:05}", odd, "" if n % 9 == 0 else "red", f"{n},90"])
    return path


def answers_of(path: Path) -> dict[str, str]:
    """The answers of a file of results, by the product."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row["SKU"]: row["answer"] for row in csv.DictReader(file)}


def batch_of(text: str) -> str:
    """The number of the batch that a summary is about."""
    return str(re.findall(r"batch (\d+) \(", text)[-1])


def suggested(text: str) -> list[str]:
    """The commands that a summary says will help, as they would be typed."""
    return re.findall(r"caravan (retry \d+(?: --[a-z-]+(?: [a-z_]+=\d+| no)?)*)", text)


@pytest.mark.parametrize(
    "rows", [400, pytest.param(20_000, marks=[pytest.mark.thorough, pytest.mark.timeout(900)])]
)
def test_the_first_hour_of_a_person_with_a_table_of_products(
    shell: Shell, host: simulator.RunningHost, tmp_path: Path, rows: int
) -> None:
    products(tmp_path / "products.csv", rows)
    prompt = """--prompt 'Sell {{ row["Product name"] }} in {{ Colour }}' --id SKU"""
    ask = f"run products.csv {prompt} --host {host.url}"

    # mistakes: each says in one line what to do
    assert "did you mean caravan run?" in shell("rnu products.csv", 2)
    assert "--model" in shell(f"run products.csv {prompt} --host {host.url}", 2)
    assert "did you mean 'SKU'" in shell(ask.replace("--id SKU", "--id sku") + " --model a:1", 2)
    assert "--set temperature=VALUE" in shell(f"{ask} --model a:1 --temperature 0.2", 2)
    assert 'row["Product name"]' in shell(
        "run products.csv --prompt 'Sell {{ Product name }}' --model a:1 --show 1", 2
    )
    assert "a:1" in shell(f"{ask} --model a:2", 2)

    # a pilot says how to go on
    assert f"{rows - 40:,} rows" in shell(f"{ask} --model a:1 --sample 40 --name pilot")

    # another template and another model are batches of their own, and say so
    batches = {batch_of(shell(f"{ask.replace('Sell', 'Praise')} --model a:1 --sample 40"))}
    batches |= {batch_of(shell(f"{ask} --model b:1 --sample 40"))}
    assert len(batches) == 2

    # the whole, with answers that are too short; the table comes back with its own columns untouched
    short = f"{ask} --model a:1 --set num_predict=10 --name short -o short.csv"
    text = shell(short)
    assert f"{rows:,} answers were cut" in text
    (again,) = suggested(text)
    assert shell(f"{again} -y")
    text = shell(short)
    assert "cut by" not in text
    written = answers_of(tmp_path / "short.csv")
    assert len(written) == rows
    assert all(written.values())

    # another window for some of them, by name
    assert "1 job asked again" in shell("retry --job short:SKU-00003 --state succeeded --set num_ctx=8192 -y")
    shell(short)

    # out for a spreadsheet, and in again as a workbook
    shell("results short -o sheet.csv --bom --force")
    assert (tmp_path / "sheet.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    cells = [["SKU", "answer"], *([sku, answer] for sku, answer in list(written.items())[:20])]
    (tmp_path / "book.xlsx").write_bytes(workbook(Answers=cells))
    text = shell(f"run book.xlsx --prompt 'Shorten: {{{{ answer }}}}' --id SKU --model b:1 --host {host.url}")
    assert "succeeded 20" in text
    assert "finished" in shell("status short")


def test_a_first_run_goes_on_after_ctrl_c_and_after_a_terminal_that_was_closed(
    shell: Shell, processes: Processes, tmp_path: Path
) -> None:
    products(tmp_path / "products.csv", 200)
    settings = simulator.HostSettings(
        name="gpu-1", models=(simulator.SimulatedModel("a:1"),), time_scale=0.03
    )
    with simulator.running(settings) as (host,):
        words = [
            "run",
            "products.csv",
            "--prompt",
            "Sell {{ Colour or SKU }}",
            "--id",
            "SKU",
            "--model",
            "a:1",
        ]
        words += ["--host", host.url, "-o", "out.csv"]
        for number, code in ((signal.SIGINT, 130), (signal.SIGHUP, 129)):
            before = int(host.state()["completed"])
            run = processes.start([*CARAVAN, *words], name="run", cwd=tmp_path)
            wait_until(
                lambda before=before: int(host.state()["completed"]) > before + 10,  # type: ignore[misc]
                description="some rows are answered",
            )
            os.kill(run.pid, number)
            assert run.wait() == code
            assert "goes on where it stopped" in run.output()
            assert not (tmp_path / "out.csv").exists()

        text = shell(shlex.join(words))
        assert int(host.state()["completed"]) == 200, "no row was asked twice"

    assert "Going on where it stopped" in text
    assert len(answers_of(tmp_path / "out.csv")) == 200


def test_after_a_bad_night_three_commands_that_the_program_suggests_make_the_file_complete(
    shell: Shell, tmp_path: Path
) -> None:
    """Answers that were cut, answers without text, a prompt that fits no window, and a host that died."""
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["SKU", "text"])
        odd = {5: "cut me", 6: "cut me", 11: "say nothing", 20: "word " * 9000}
        table.writerows([f"SKU-{n:05}", f"{odd.get(n, 'tea')} {n}"] for n in range(60))
    model = simulator.SimulatedModel("a:1")
    faults = (
        Fault("says", prompt="cut me", text="Half an ans", done_reason="length", times=2),
        Fault("says", prompt="say nothing", text="", times=1),
    )
    with simulator.running(
        simulator.HostSettings(name="gpu-1", models=(model,), time_scale=0.001, faults=faults),
        simulator.HostSettings(
            name="gpu-2", models=(model,), time_scale=0.001, faults=(Fault("crash", after_chunks=1),)
        ),
    ) as hosts:
        places = " ".join(f"--host {host.url}" for host in hosts)
        run = f"run rows.csv --prompt 'Sell {{{{ text }}}}' --id SKU --model a:1 --set num_ctx=4096 -o out.csv {places}"
        night = shell(run, 3)
        commands = suggested(night)
        for command in commands:
            shell(f"{command} -y")
        shell(run)

    written = answers_of(tmp_path / "out.csv")
    assert len(commands) == 2, night
    assert "…" not in "".join(commands)
    assert len(written) == 60
    assert all(written.values())
    assert "Half an ans" not in written.values()
