"""``caravan up``: a service on one machine, what is submitted to it, and a run beside it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

import simulator
from caravan import Caravan
from tests.acceptance.conftest import MODELS, caravan, write_jobs
from tests.processes import CARAVAN, Processes, Started
from tests.servers.pinged import pinged_here
from tests.waiting import wait_until

Environment = dict[str, str]
Hosts = tuple[simulator.RunningHost, ...]


@pytest.fixture
def up(environment: Environment, hosts: Hosts, processes: Processes) -> Iterator[Started]:
    started = processes.start(
        [*CARAVAN, "up", "--host", hosts[0].url, "--slots", "2"], name="up", env=environment
    )
    started.wait_for("serving 127.0.0.1")
    yield started
    started.terminate()
    assert started.wait() == 0


def status(environment: Environment, batch: str) -> dict[str, Any]:
    shown = caravan("status", batch, "--json", env=environment, check=False)
    return json.loads(shown.stdout) if shown.stdout else {}


def finished(environment: Environment, batch: str) -> dict[str, Any]:
    def done() -> dict[str, Any]:
        seen = status(environment, batch)
        return seen if seen.get("state") == "finished" else {}

    return wait_until(done, description=f"batch {batch} finishes", timeout=60, interval=0.2)


def test_what_is_submitted_is_served_and_submit_prints_its_number_alone(
    environment: Environment, up: Started, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 12)

    done = caravan("submit", str(file), env=environment)

    batch = done.stdout.strip()
    assert batch.isdecimal()
    assert "Nothing serves it" not in done.stderr
    assert finished(environment, batch)["counts"] == {"succeeded": 12}


def test_submit_says_so_where_nothing_serves(environment: Environment, tmp_path: Path) -> None:
    done = caravan("submit", str(write_jobs(tmp_path / "jobs.jsonl", 2)), env=environment)

    assert "Nothing serves it now: start caravan up" in done.stderr


def test_a_run_beside_it_joins_and_a_second_up_is_refused_by_name(
    environment: Environment, up: Started, hosts: Hosts, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"

    joined = caravan("run", str(write_jobs(tmp_path / "j.jsonl", 9)), "-o", str(out), env=environment)
    second = caravan("up", env=environment, check=False)

    assert "this run joins it" in joined.stderr
    assert len(out.read_text().splitlines()) > 9
    assert second.returncode == 1
    assert f"in use by process {up.pid} (caravan up)" in second.stderr


def test_a_run_beside_it_ends_when_it_has_been_gone_for_as_long_as_it_may(
    environment: Environment, processes: Processes, tmp_path: Path
) -> None:
    settings = simulator.HostSettings(name="gpu-1", models=simulator.demo_models(), time_scale=0.5)
    with simulator.running(settings) as (host,):
        up = processes.start([*CARAVAN, "up", "--host", host.url], name="up", env=environment)
        up.wait_for("serving 127.0.0.1")
        file = write_jobs(tmp_path / "j.jsonl", 200)
        run = processes.start([*CARAVAN, "run", str(file), "--wait-hosts", "2"], name="run", env=environment)
        wait_until(lambda: host.state()["completed"] > 1, description="some are answered", timeout=30)
        up.terminate()
        up.wait()

        assert run.wait(60) == 4
        assert "caravan up has ended" in run.output()


def test_a_program_beside_it_joins_as_well(
    environment: Environment, up: Started, hosts: Hosts, tmp_path: Path
) -> None:
    with Caravan(environment["CARAVAN_HOME"]) as joining:
        batch = joining.run((f"Say {n}." for n in range(6)), model=list(MODELS[:2]), poll=0.1)
        lines = list(batch)

    assert [line["state"] for line in lines] == ["succeeded"] * 12
    assert {line["model"] for line in lines} == set(MODELS[:2])
    assert hosts[0].state()["completed"] >= 12
    assert up.running


def test_a_host_that_is_added_is_served_without_a_restart(
    environment: Environment, up: Started, hosts: Hosts, tmp_path: Path
) -> None:
    caravan("hosts", "add", "gpu-2", hosts[1].url, "--slots", "2", env=environment)
    caravan("hosts", "drain", "127.0.0.1:" + hosts[0].url.rpartition(":")[2], env=environment)

    batch = caravan("submit", str(write_jobs(tmp_path / "j.jsonl", 6)), env=environment).stdout.strip()

    assert finished(environment, batch)["counts"] == {"succeeded": 6}
    assert int(hosts[1].state()["completed"]) >= 6
    assert hosts[0].state()["completed"] == 0


def test_a_host_whose_secret_is_missing_stops_nobody_else(
    environment: Environment, hosts: Hosts, processes: Processes, tmp_path: Path
) -> None:
    caravan("hosts", "add", "gpu-1", hosts[0].url, env=environment)
    caravan("hosts", "add", "gpu-2", hosts[1].url, "--bearer", "env:NOT_SET_ANYWHERE", env=environment)
    started = processes.start([*CARAVAN, "up"], name="up", env=environment)
    started.wait_for("serving gpu-1, gpu-2")

    batch = caravan("submit", str(write_jobs(tmp_path / "j.jsonl", 3)), env=environment).stdout.strip()

    assert finished(environment, batch)["counts"] == {"succeeded": 3}
    assert "NOT_SET_ANYWHERE" in caravan("hosts", "list", env=environment).stdout
    started.terminate()
    assert started.wait() == 0


@pytest.mark.parametrize("slots", [1, 4])
def test_a_mistake_costs_some_twenty_outcomes_and_the_batch_says_why(
    environment: Environment, tmp_path: Path, slots: int
) -> None:
    settings = simulator.HostSettings(
        name="gpu-1", models=simulator.demo_models()[:1], num_parallel=slots, time_scale=0.0
    )
    with simulator.running(settings) as (host,):
        file = write_jobs(tmp_path / "j.jsonl", 600, suffix="a suffix needs a model that can insert")
        lines = file.read_text().replace(MODELS[1], MODELS[0]).replace(MODELS[2], MODELS[0])
        file.write_text(lines)

        done = caravan(
            "run", str(file), "--host", host.url, "--slots", str(slots), env=environment, check=False
        )

        assert done.returncode == 3
        assert "20 outcomes failed" in done.stderr or "outcomes failed with unsupported" in done.stderr
        assert "caravan resume" in done.stderr
        counts = status(environment, "@last")["counts"]
        assert 20 <= counts["failed"] <= 20 + 2 * slots
        assert counts["failed"] + counts["scheduled"] == 600


@pytest.mark.parametrize("line", ["O", "H"])
def test_a_schema_that_no_host_takes_costs_some_twenty_outcomes(
    environment: Environment, tmp_path: Path, line: Literal["O", "H"]
) -> None:
    # a right schema, but hosts make no grammar of what nothing can meet
    schema = {
        "type": "object",
        "properties": {"sku": False},
        "required": ["sku"],
    }
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    file = write_jobs(tmp_path / "j.jsonl", 300, model=MODELS[0])
    settings = simulator.HostSettings(
        name="gpu-1", models=simulator.demo_models()[:1], num_parallel=2, time_scale=0.0, line=line
    )
    with simulator.running(settings) as (host,):
        done = caravan(
            *(
                "run",
                str(file),
                "--format",
                str(tmp_path / "schema.json"),
                "--host",
                host.url,
                "--slots",
                "2",
            ),
            env=environment,
            check=False,
        )

        assert done.returncode == 3
        assert "outcomes failed with invalid_request" in " ".join(done.stderr.split())
        counts = status(environment, "@last")["counts"]
        assert 20 <= counts["failed"] <= 24
        assert counts["failed"] + counts["scheduled"] == 300
        (failed,) = caravan(
            "jobs", "@last", "--state", "failed", "--json", "--limit", "1", env=environment
        ).stdout.splitlines()
        assert ("unrecognized schema" if line == "H" else "invalid JSON schema in format") in failed


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "nonsense"}, "not a JSON Schema: at type: 'nonsense' is not valid"),
        ({"properties": {"a": {"$ref": "#/$defs/A"}}}, '"#/$defs/A" points at nothing in the schema'),
    ],
)
def test_a_schema_that_is_none_is_refused_at_the_door(
    environment: Environment, hosts: Hosts, tmp_path: Path, schema: dict[str, Any], told: str
) -> None:
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    file = write_jobs(tmp_path / "j.jsonl", 3)
    on_lines = write_jobs(tmp_path / "l.jsonl", 3, format=schema)

    for_all = caravan(
        *("run", str(file), "--format", str(tmp_path / "schema.json"), "--host", hosts[0].url),
        env=environment,
        check=False,
    )
    by_line = caravan("run", str(on_lines), "--host", hosts[0].url, env=environment, check=False)

    assert (for_all.returncode, by_line.returncode) == (2, 2)
    assert told in for_all.stderr
    assert by_line.stderr.count("format:") == 1
    assert "lines 1, 2 and 3: format:" in by_line.stderr
    assert hosts[0].state()["requests"] == 0


def test_a_run_ends_when_its_only_host_has_been_away_for_as_long_as_it_may(
    environment: Environment, processes: Processes, tmp_path: Path
) -> None:
    settings = simulator.HostSettings(name="gpu-1", models=simulator.demo_models(), time_scale=0.05)
    with simulator.running(settings) as (host,):
        file = write_jobs(tmp_path / "j.jsonl", 200)
        run = processes.start(
            [*CARAVAN, "run", str(file), "--host", host.url, "--wait-hosts", "2"], name="run", env=environment
        )
        wait_until(lambda: host.state()["completed"] > 5, description="some are answered")
        host.kill()

    assert run.wait(60) == 4
    assert "No host can serve the rest" in run.output()
    assert "cannot be reached" in run.output()


def test_commands_read_a_home_that_nobody_made_yet(environment: Environment) -> None:
    assert "no batches yet" in caravan("status", env=environment).stdout
    assert os.path.isdir(environment["CARAVAN_HOME"])


def test_who_is_to_be_told_hears_of_a_run_and_of_what_was_submitted_to_up(
    environment: Environment, hosts: Hosts, up: Started, tmp_path: Path
) -> None:
    with pinged_here() as seen:
        first = write_jobs(tmp_path / "first.jsonl", 6)
        caravan("run", str(first), "--webhook", f"{seen.url}/run", env=environment)
        second = write_jobs(tmp_path / "second.jsonl", 6, prompt="Other.")
        caravan("submit", str(second), "--webhook", f"{seen.url}/submit", env=environment)
        wait_until(lambda: len(seen.posts) == 2, description="both are told")

    assert seen.paths == ["/run", "/submit"]
    told = [json.loads(body)["data"] for _, body in seen.posts]
    assert [one["summary"] for one in told] == [
        "first.jsonl: 6 of 6 answered",
        "second.jsonl: 6 of 6 answered",
    ]
    listed = caravan("notify", "list", "@last", env=environment).stdout
    assert listed == f"delivered: webhook to {seen.url}/submit\n"


def test_a_run_of_its_own_tells_at_its_end_and_says_whom_it_could_not_reach(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 3)
    told = f"cat > {tmp_path}/news.json"
    with pinged_here(status=500) as broken:
        done = caravan(
            *("run", str(file), "--host", hosts[0].url, "--notify-command", told, "--webhook", broken.url),
            env=environment,
        )

    assert json.loads((tmp_path / "news.json").read_text())["data"]["counts"] == {"succeeded": 3}
    assert "not sent: 127.0.0.1: answered 500; caravan up tries again" in " ".join(done.stderr.split())
    refused = caravan("run", str(file), "--mail-to", "ops@example.org", env=environment, check=False)
    assert refused.returncode == 1
    assert "CARAVAN_SMTP_URL" in refused.stderr
