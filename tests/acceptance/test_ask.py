"""``caravan ask``: one question, its answer as it is written, kept like every other, and continued."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import simulator
from tests.acceptance.conftest import caravan
from tests.processes import CARAVAN, Processes
from worker.cli.ask import _Printer, split_reasoning
from worker.cli.main import app

Environment = dict[str, str]


@pytest.fixture
def slow() -> Iterator[simulator.RunningHost]:
    """A host with one model, which writes at the pace of a small machine."""
    settings = simulator.HostSettings(name="gpu-1", models=(simulator.SimulatedModel("a:1"),), time_scale=0.5)
    with simulator.running(settings) as (host,):
        yield host


def pieces(arguments: list[str], environment: Environment) -> tuple[int, list[tuple[float, str]]]:
    """Run a command on a terminal; its exit code, and what it wrote, each piece with its time."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*CARAVAN, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    written: list[tuple[float, str]] = []
    while select.select([ours], [], [], 120)[0]:
        try:
            data = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        written.append((time.monotonic(), data.decode()))
    os.close(ours)
    return process.wait(60), written


def test_an_answer_is_printed_as_it_is_written_and_kept(
    environment: Environment, slow: simulator.RunningHost
) -> None:
    code, written = pieces(["ask", "Why is the sky blue?", "--host", slow.url], environment)
    (line,) = [json.loads(line) for line in caravan("results", "@last", env=environment).stdout.splitlines()]
    (batch,) = json.loads(caravan("status", "--json", env=environment).stdout)
    (job,) = json.loads(caravan("jobs", "@last", "--json", env=environment).stdout)

    text = "".join(piece for _, piece in written)
    assert code == 0, text
    assert re.sub(r"\s+", " ", text).strip() == re.sub(r"\s+", " ", line["answer"]).strip()
    assert len(written) > 5, "it came piece by piece"
    assert written[-1][0] - written[0][0] > 0.3
    assert (batch["name"], batch["state"]) == ("Why is the sky blue?", "finished")
    assert job["state"] == "succeeded"


def test_a_conversation_is_continued_with_its_model_and_files_stand_before_the_question(
    environment: Environment, slow: simulator.RunningHost, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("The kettle is red.\n")
    here = ("--host", slow.url)

    caravan(
        "ask",
        "What colour?",
        "--file",
        str(tmp_path / "notes.txt"),
        "--system",
        "Be brief.",
        *here,
        env=environment,
    )
    first = json.loads(caravan("results", "@last", "--with", "request", env=environment).stdout)
    second = json.loads(caravan("ask", "And", "why?", "--continue", "--json", *here, env=environment).stdout)
    request = json.loads(caravan("results", "@last", "--with", "request", env=environment).stdout)["request"]

    assert (second["state"], second["model"]) == ("succeeded", "a:1")
    assert request["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "notes.txt:\n\nThe kettle is red.\n\nWhat colour?"},
        {"role": "assistant", "content": first["answer"]},
        {"role": "user", "content": "And why?"},
    ]


def test_what_cannot_be_asked_is_one_line_with_what_helps(
    environment: Environment, slow: simulator.RunningHost
) -> None:
    def told(*words: str) -> str:
        done = caravan("ask", *words, env=environment, check=False)
        assert done.returncode in (2, 1), done.stderr
        return done.stderr.strip()

    assert told("go on", "--continue") == (
        "caravan: there is no conversation to continue; caravan ask begins one without --continue"
    )
    assert told("hi", "--model", "b:1", "--host", slow.url) == (
        "caravan: no host has the model 'b:1'; they have a:1"
    )
    assert told().startswith("caravan: ask: QUESTION is missing")


def test_beside_up_an_answer_grows_too_and_the_models_are_those_that_the_database_knows(
    environment: Environment, slow: simulator.RunningHost, processes: Processes
) -> None:
    up = processes.start([*CARAVAN, "up", "--host", slow.url], name="up", env=environment)
    up.wait_for("serving 127.0.0.1")

    code, written = pieces(["ask", "Why?"], environment)
    refused = caravan("ask", "Why?", "--model", "b:1", env=environment, check=False)
    up.terminate()

    assert up.wait() == 0
    assert (code, len(written) > 3) == (0, True), "it came piece by piece"
    assert (refused.returncode, "no host has the model 'b:1'" in refused.stderr) == (2, True)


def test_an_answer_that_stops_says_in_words_what_it_waits_for_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    printer = _Printer(prints=True, grows=True)

    printer.show("The sky")
    for seconds in (3, 4):
        printer.show_waiting([f"gpu-1 cannot be reached since 14:02:10 ({seconds} s): connection refused"])
    printer.show_waiting([])
    printer.show("Because")

    written = capsys.readouterr()
    assert written.out == "The sky\nBecause"
    assert written.err == "waiting: gpu-1 cannot be reached since 14:02:10 (3 s): connection refused\n"


def test_an_answer_that_ctrl_c_cuts_while_it_is_written_ends_its_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    printer = _Printer(prints=True, grows=True)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(sys.stdout, "flush", interrupt)
        printer.show("The sky")
    printer.end_line()

    assert capsys.readouterr().out == "The sky\n"


def test_reasoning_is_told_from_the_answer_while_both_are_written() -> None:
    assert split_reasoning("<think>Let me") == ("Let me", "")
    assert split_reasoning("<think>Let me</think>\nBecause") == ("Let me", "Because")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARAVAN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CARAVAN_TICK_SECONDS", "0.1")
    return tmp_path


def host_with(*faults: simulator.Fault) -> simulator.HostSettings:
    models = (
        simulator.SimulatedModel("a:1"),
        simulator.SimulatedModel("eyes:1", capabilities=("completion", "vision")),
    )
    return simulator.HostSettings(name="gpu-1", models=models, time_scale=0.02, faults=faults)


def typed(*words: str, model: str = "a:1", stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["ask", *words, "--model", model], input=stdin, catch_exceptions=False)


def test_a_host_that_stays_away_ends_the_wait_and_the_question_is_kept(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.cli.ask.WAIT_HOSTS", 0.3)
    with simulator.running(host_with(simulator.Fault("crash", after_chunks=5))) as (host,):
        done = typed("Why?", "--host", host.url)

    assert done.exit_code == 4
    assert done.stdout == ""
    assert "caravan: no host can answer: " in done.stderr
    assert "caravan up answers it once a host is back, caravan cancel 1 drops it" in done.stderr
    status = json.loads(CliRunner().invoke(app, ["status", "1", "--json"]).stdout)
    assert status["state"] == "open"


def test_a_pipe_gets_the_answer_alone_and_nothing_of_a_try_that_failed(home: Path) -> None:
    with simulator.running(host_with(simulator.Fault("cut", after_chunks=5))) as (host,):
        done = typed("-", "--host", host.url, stdin="Why is\nthe sky blue?\n")

    (line,) = [json.loads(CliRunner().invoke(app, ["results", "@last"]).stdout)]
    (batch,) = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)
    assert done.exit_code == 0
    assert done.stdout == line["answer"].rstrip("\n") + "\n"
    assert batch["name"] == "Why is the sky blue?"


def test_an_image_is_shown_to_a_model_that_sees_and_mistakes_are_one_line(home: Path) -> None:
    (home / "pic.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\xff")
    with simulator.running(host_with()) as (host,):
        seen = typed("What is it?", "--image", "pic.png", "--host", host.url, model="eyes:1")
        request = json.loads(CliRunner().invoke(app, ["results", "@last", "--with", "request"]).stdout)
        blind = typed("What is it?", "--image", "pic.png", "--host", host.url)
        wrong = [
            typed(*words).stderr
            for words in (
                ("",),
                ("x", "--image", "no.png"),
                ("x", "--file", "pic.png"),
                ("x", "-f", "no.txt"),
            )
        ]

    assert seen.exit_code == 0
    assert blind.stderr.startswith("caravan: a:1 sees no images, as its hosts say; ")
    assert [text.count("\n") for text in wrong] == [1, 1, 1, 1]
    assert wrong == [
        "caravan: the question is empty\n",
        "caravan: images: no file no.png\n",
        "caravan: pic.png is an image: --image pic.png shows it to the model\n",
        "caravan: no.txt: No such file or directory\n",
    ]
    assert "iVBOR" in json.dumps(request["request"])
