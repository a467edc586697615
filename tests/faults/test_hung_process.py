"""A process that hangs, with no CPU and no log, ends itself for its supervisor to start anew."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import simulator
from api_schemas.jobs import JobDefaults
from tests.door import submit_lines
from tests.processes import Processes
from tests.waiting import wait_until
from worker.dispatch.run import fleet_app
from worker.dispatch.wake import wake_hosts
from worker.domain.hosts import Host
from worker.serving.watchdog import HUNG
from worker.settings import load_settings
from worker.storage.counts import batch_progress
from worker.storage.engine import open_database
from worker.storage.hosts import add_host

PROGRAM = """
import sys, threading
from dataclasses import replace
import simulator
from api_schemas.jobs import JobDefaults
from worker.domain.hosts import Host
from worker.serving import steps
from tests.door import submit_lines
from worker.settings import load_settings
from worker.stack.embedded import embedded, join_hosts
from worker.storage.counts import batch_progress

def a_lock_that_nobody_gives_back(*_):
    threading.Event().wait()

hangs, home = sys.argv[1] == "hangs", sys.argv[2]
settings = load_settings(
    {}, home=home, hang_seconds=1.0, load_timeout_seconds=0.2 if hangs else 1.0, unload_seconds=0.1, tick_seconds=0.05,
    idle_poll_seconds=0.05,
)
slow = replace(simulator.demo_models()[0], load_seconds=0.3, tokens_per_second=10.0, answer_tokens=(40, 40))
model = slow.name
host = simulator.HostSettings(name="gpu-1", models=(slow,), time_scale=0.0 if hangs else 1.0)
with simulator.running(host) as (running,), embedded(settings, command="up") as stack:
    join_hosts(stack, [Host("gpu-1", running.url)])
    batch = submit_lines(
        stack.database, ['{"model": "%s", "prompt": "x"}' % model], key="k",
        name="b", defaults=JobDefaults(), clock=stack.clock,
    ).batch
    if hangs:
        steps.choose = a_lock_that_nobody_gives_back
    stack.serve([Host("gpu-1", running.url)])
    while True:
        with stack.database.read() as conn:
            if batch_progress(conn, batch.id).done:
                print(conn.exec_driver_sql("SELECT total_seconds FROM results").scalar())
                break
        threading.Event().wait(0.05)
"""


def run(what: str, home: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), what, str(home)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.fault(34)
def test_a_serving_loop_that_hangs_ends_the_process_and_says_where(tmp_path: Path) -> None:
    done = run("hangs", tmp_path)

    assert done.returncode == HUNG, done.stderr
    assert "serve-gpu-1 hangs" in done.stderr
    assert "a_lock_that_nobody_gives_back" in done.stderr


@pytest.mark.thorough
@pytest.mark.fault(34)
def test_an_answer_that_takes_longer_than_a_turn_is_no_hang(tmp_path: Path) -> None:
    done = run("works", tmp_path)

    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 3, "longer than a turn of the loop may last"


WORKER = """
import os, sys, threading
from worker.dispatch.run import run_worker
from worker.serving import steps
from worker.settings import load_settings

marker, choose = sys.argv[1], steps.choose

def hangs_once(*arguments):
    if not os.path.exists(marker):
        open(marker, "w").close()
        threading.Event().wait()
    return choose(*arguments)

steps.choose = hangs_once
sys.exit(run_worker(load_settings(), ["gpu-1"]))
"""


@pytest.mark.thorough
@pytest.mark.fault(34)
def test_a_child_of_a_fleet_s_worker_that_hangs_is_replaced_and_the_work_is_done(
    processes: Processes, redis_url: str, migrated_postgres_url: str, tmp_path: Path
) -> None:
    settings = load_settings({}, database_url=migrated_postgres_url, broker_url=redis_url)
    env = {
        "CARAVAN_DATABASE_URL": migrated_postgres_url,
        "CARAVAN_BROKER_URL": redis_url,
        "CARAVAN_HOME": str(tmp_path / "home"),
        "CARAVAN_HANG_SECONDS": "1",
        "CARAVAN_LOAD_TIMEOUT_SECONDS": "2",
        "CARAVAN_UNLOAD_SECONDS": "1",
        "CARAVAN_LEASE_SECONDS": "3",
    }
    models = simulator.demo_models()
    database, app = open_database(migrated_postgres_url), fleet_app(settings)
    with simulator.running(simulator.HostSettings(name="gpu-1", models=models, time_scale=0.0)) as (host,):
        with database.write() as conn:
            add_host(conn, Host("gpu-1", host.url), now=database.clock().now())
        line = json.dumps({"model": models[0].name, "prompt": "x"})
        batch = submit_lines(
            database, [line], key="k", name="b", defaults=JobDefaults(), clock=database.clock()
        ).batch
        worker = processes.start(
            [sys.executable, "-c", WORKER, str(tmp_path / "hung")], name="worker", env=env
        )

        def done() -> bool:
            wake_hosts(app, ["gpu-1"])
            with database.read() as conn:
                return batch_progress(conn, batch.id).done == 1

        wait_until(done, description="another child does the work", timeout=60, interval=0.5)
    app.close()
    database.close()

    assert "serve-gpu-1 hangs" in worker.output()
    assert worker.running
