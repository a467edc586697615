"""``caravan ask``: one question, its answer as it is written, kept like every other, and continued."""

import json
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import simulator
from tests.acceptance.conftest import caravan
from tests.processes import CARAVAN, Processes
from worker.cli.ask import _Printer, split_reasoning

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
        "caravan: no host has the model 'b:1'; did you mean 'a:1'?"
    )
    assert told().startswith("caravan: ask: QUESTION is missing")


def test_beside_up_the_models_are_those_that_the_database_knows(
    environment: Environment, slow: simulator.RunningHost, processes: Processes
) -> None:
    up = processes.start([*CARAVAN, "up", "--host", slow.url], name="up", env=environment)
    up.wait_for("serving 127.0.0.1")

    answered = caravan("ask", "Why?", env=environment)
    refused = caravan("ask", "Why?", "--model", "b:1", env=environment, check=False)
    up.terminate()

    assert up.wait() == 0
    assert answered.stdout.strip()
    assert (refused.returncode, "no host has the model 'b:1'" in refused.stderr) == (2, True)


def test_an_answer_that_stops_says_in_words_what_it_waits_for_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    printer = _Printer(prints=True)

    printer.show("The sky")
    for seconds in (3, 4):
        printer.show_waiting([f"gpu-1 cannot be reached since 14:02:10 ({seconds} s): connection refused"])
    printer.show_waiting([])
    printer.show("Because")

    written = capsys.readouterr()
    assert written.out == "The sky\n\n\nBecause"
    assert written.err == "waiting: gpu-1 cannot be reached since 14:02:10 (3 s): connection refused\n"


def test_reasoning_is_told_from_the_answer_while_both_are_written() -> None:
    assert split_reasoning("<think>Let me") == ("Let me", "")
    assert split_reasoning("<think>Let me</think>\nBecause") == ("Let me", "Because")
