"""``caravan run`` as a person uses it: one command, interrupted and started again."""

import json
import re
from pathlib import Path

import pytest

import simulator
from tests.acceptance.conftest import MODELS, caravan, write_jobs
from tests.processes import CARAVAN, Processes
from tests.waiting import wait_until

Environment = dict[str, str]
Hosts = tuple[simulator.RunningHost, ...]


def on(hosts: Hosts) -> list[str]:
    return [argument for host in hosts for argument in ("--host", host.url)]


def test_every_prompt_is_answered_in_the_order_of_the_input(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 30)

    done = caravan("run", str(file), *on(hosts), "-o", str(tmp_path / "out.jsonl"), env=environment)

    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["custom_id"] for line in lines] == [f"c{n}" for n in range(30)]
    assert all(line["state"] == "succeeded" and line["answer"] for line in lines)
    assert re.search(r"Model loads: [34]\b", done.stderr), (
        "one for each model, or one more where a wait grew long"
    )
    assert sum(host.state()["loads"] for host in hosts) in (3, 4)


@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_a_run_that_is_cut_off_goes_on_where_it_stopped(
    environment: Environment, hosts: Hosts, processes: Processes, tmp_path: Path, how: str
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 300, options={"num_predict": 80})
    command = ["run", str(file), *on(hosts), "-o", str(tmp_path / "out.jsonl")]
    first = processes.start([*CARAVAN, *command], name="run", env=environment)

    def completed() -> int:
        return sum(int(host.state()["completed"]) for host in hosts)

    wait_until(lambda: completed() > 40, description="some jobs are answered")
    if how == "killed":
        first.kill()
    else:
        first.interrupt()
        assert first.wait() == 130
        assert "goes on where it stopped" in first.output()
    assert not (tmp_path / "out.jsonl").exists()
    caravan(*command, env=environment)

    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["state"] for line in lines] == ["succeeded"] * 300
    assert sum(int(host.state()["requests"]) for host in hosts) <= 300 + 2 * 64 + 4


def test_a_finished_run_started_again_asks_no_host(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 6)
    caravan("run", str(file), *on(hosts), env=environment)
    asked = sum(int(host.state()["requests"]) for host in hosts)

    caravan("run", str(file), *on(hosts), "-o", str(tmp_path / "out.jsonl"), env=environment)

    assert sum(int(host.state()["requests"]) for host in hosts) == asked == 6
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 6


def test_the_rows_of_a_batch_are_asked_of_another_model_and_compared(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 9)
    first, second = MODELS[:2]
    caravan("run", str(file), *on(hosts), "--model", first, "--override", "--name", "night", env=environment)

    again = ("run", "--from", "night", *on(hosts), "--model", second)
    done = caravan(*again, env=environment)
    caravan(*again, env=environment)
    wide = caravan("results", "night", "--wide", env=environment).stdout

    assert "Asks 9 rows of batch 1 (night) again" in done.stderr
    lines = [json.loads(line) for line in wide.splitlines()]
    assert [line["custom_id"] for line in lines] == [f"c{n}" for n in range(9)]
    assert all(line["models"][model]["answer"] for line in lines for model in (first, second))
    assert sum(int(host.state()["completed"]) for host in hosts) == 18


def test_standard_input_is_taken_and_a_model_given_for_all(
    environment: Environment, hosts: Hosts, processes: Processes
) -> None:
    lines = "".join(json.dumps({"prompt": f"Say {n}."}) + "\n" for n in range(4)).encode()

    run = processes.start(
        [*CARAVAN, "run", "-", "--model", MODELS[0], *on(hosts), "--json"],
        name="run",
        env=environment,
        stdin=lines,
    )

    assert run.wait() == 0
    assert json.loads(run.output().splitlines()[-1])["counts"] == {"succeeded": 4}


BAD = {
    "an unknown model": (
        '{"model": "llama3.3:3b", "prompt": "x"}\n',
        "line 1: no host has the model 'llama3.3:3b'",
    ),
    "a bad option type": (
        '{"model": "llama3.2:3b", "prompt": "x", "options": {"num_ctx": "big"}}\n',
        "line 1: options.num_ctx: expected a whole number",
    ),
    "a misspelt field": ('{"model": "llama3.2:3b", "promt": "x"}\n', "did you mean prompt?"),
    "a 5 MB prompt": (
        json.dumps({"model": "llama3.2:3b", "prompt": "x" * 5_000_000}) + "\n",
        "5,000,000 bytes",
    ),
    "an empty file": ("", "the file is empty"),
    "broken JSON on line 7": (
        '{"model": "llama3.2:3b", "prompt": "x"}\n' * 6 + '{"model": \n',
        "line 7: not valid JSON",
    ),
    "a duplicate custom_id": (
        '{"model": "llama3.2:3b", "prompt": "x", "custom_id": "a"}\n' * 2,
        "line 2: custom_id 'a' stands on line 1 already",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_refused_with_its_place_and_nothing_runs(
    environment: Environment, hosts: Hosts, tmp_path: Path, what: str
) -> None:
    content, message = BAD[what]
    file = tmp_path / "jobs.jsonl"
    file.write_text(content)

    done = caravan("run", str(file), *on(hosts), env=environment, check=False)

    assert done.returncode == 2
    assert message in done.stderr
    assert sum(int(host.state()["requests"]) for host in hosts) == 0


def test_nul_and_lone_surrogates_are_replaced_and_said(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    file = tmp_path / "jobs.jsonl"
    file.write_text('{"model": "llama3.2:3b", "prompt": "a\\u0000b \\ud800 c"}\n')

    done = caravan("run", str(file), *on(hosts), env=environment)

    assert "replaced by U+FFFD" in done.stderr


def test_without_a_host_nothing_is_taken_in(environment: Environment, tmp_path: Path) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 3)

    done = caravan("run", str(file), "--host", "http://127.0.0.1:9", env=environment, check=False)

    assert done.returncode == 4
    assert "http://127.0.0.1:9" in done.stderr
    assert json.loads(caravan("status", "--json", env=environment).stdout) == []


def test_two_runs_in_one_home_do_not_disturb_each_other(
    environment: Environment, hosts: Hosts, processes: Processes, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 5000)  # so many that it still runs when the second begins
    first = processes.start([*CARAVAN, "run", str(file), *on(hosts)], name="first", env=environment)
    wait_until(lambda: hosts[0].state()["requests"], description="the first runs")

    second = caravan("run", str(file), *on(hosts), env=environment, check=False)

    assert second.returncode == 1
    assert f"in use by process {first.pid}" in second.stderr


def test_a_failed_job_is_in_the_results_with_its_error_and_the_exit_code_says_so(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    file = tmp_path / "jobs.jsonl"
    jobs = [
        {"model": MODELS[0], "prompt": "x"},
        {"model": MODELS[0], "prompt": "x", "suffix": "needs insert"},
    ]
    file.write_text("".join(json.dumps(job) + "\n" for job in jobs))

    done = caravan(
        "run", str(file), *on(hosts), "-o", str(tmp_path / "out.jsonl"), env=environment, check=False
    )

    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert done.returncode == 3
    assert [line["state"] for line in lines] == ["succeeded", "failed"]
    assert lines[1]["error"]["code"] == "unsupported"
    assert "insert" in lines[1]["error"]["message"]


def test_a_run_leaves_alone_what_an_earlier_one_left_behind(
    environment: Environment, hosts: Hosts, processes: Processes, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "first.jsonl", 600)
    first = processes.start([*CARAVAN, "run", str(file), *on(hosts)], name="first", env=environment)
    wait_until(lambda: hosts[0].state()["requests"], description="the first runs")
    first.kill()
    before = json.loads(caravan("status", "1", "--json", env=environment).stdout)["done"]

    other = write_jobs(tmp_path / "second.jsonl", 12)
    caravan("run", str(other), *on(hosts), env=environment)

    assert json.loads(caravan("status", "1", "--json", env=environment).stdout)["done"] == before


def test_a_run_that_fails_leaves_no_host_behind(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 3)
    here = ["--host", hosts[0].url]
    strange = tmp_path / "strange.jsonl"
    strange.write_text('{"model": "nobody-has:1b", "prompt": "Hello"}\n', encoding="utf-8")

    def known() -> list[str]:
        return [one["url"] for one in json.loads(caravan("hosts", "list", "--json", env=environment).stdout)]

    away = caravan("run", str(file), "--host", "127.0.0.1:1", env=environment, check=False)
    after_away = known()
    refused = caravan("run", str(strange), *here, env=environment, check=False)
    after_refused = known()
    caravan("run", str(file), *here, "--host", "gpu-9.invalid", env=environment)

    assert (away.returncode, refused.returncode) == (4, 2)
    assert after_away == after_refused == []
    assert known() == [hosts[0].url], "a host that was served, and only that, stays known"
