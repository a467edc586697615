"""``caravan health`` as a supervisor asks it: of an ``up``, and of a fleet."""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import simulator
from tests.acceptance.conftest import Fleet, caravan, write_jobs
from tests.processes import CARAVAN, Processes
from tests.servers.children import free_port
from tests.servers.smtp import mail_server_here
from tests.waiting import wait_until

Environment = dict[str, str]


def findings(environment: Environment, *only: str) -> set[str]:
    """What is wrong, as (kind, about) in one word; checks that the exit code says the same."""
    options = [part for one in only for part in ("--only", one)]
    done = caravan("health", "--json", *options, env=environment, check=False)
    told = json.loads(done.stdout)
    assert done.returncode == (0 if told["well"] else 1), done.stderr
    return {f"{one['kind']}:{one['about']}" for one in told["findings"] if one["bad"]}


def asked(port: int) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return 0, {}


@pytest.mark.thorough
def test_an_up_that_was_killed_is_missed_and_one_that_was_stopped_is_not(
    environment: Environment, hosts: tuple[simulator.RunningHost, ...], processes: Processes
) -> None:
    port = free_port()
    env = {**environment, "CARAVAN_HEALTH_ADDRESS": str(port)}

    def up() -> Any:
        started = processes.start([*CARAVAN, "up", "--host", hosts[0].url], name="up", env=env)
        started.wait_for("serving 127.0.0.1")
        wait_until(lambda: asked(port)[0] == 200, description="/healthz says that all is well")
        return started

    up().kill()
    wait_until(lambda: findings(environment) == {"serving:up"}, description="the dead up is missed")
    again = up()
    alive = findings(environment)
    again.terminate()
    again.wait()

    assert alive == set()
    assert findings(environment) == set()


@pytest.mark.thorough
@pytest.mark.fault(2)
def test_a_dead_beat_and_a_dead_control_are_missed_and_mailed_about(fleet: Fleet, tmp_path: Path) -> None:
    with mail_server_here() as box:
        fleet.env |= {
            "CARAVAN_SMTP_URL": f"smtp://127.0.0.1:{box.port}/?from=c@example.org&starttls=never",
            "CARAVAN_MAIL_TO": "ops@example.org",
            "CARAVAN_HEALTH_ADDRESS": str(free_port()),
        }
        port = int(fleet.env["CARAVAN_HEALTH_ADDRESS"])
        beat, control = fleet.start("beat"), fleet.start("control")
        wait_until(lambda: asked(port)[0] == 200, description="all is well", timeout=60)
        fleet.run("submit", str(write_jobs(tmp_path / "jobs.jsonl", 1)))  # without work they rest for minutes

        beat.kill()
        wait_until(
            lambda: {one["kind"] for one in asked(port)[1].get("findings", ())} >= {"beat", "control"},
            description="the dead beat, and with it the ticks, are missed",
        )
        wait_until(lambda: box.mails, description="a mail says so", timeout=90)
        control.terminate()
        assert control.wait() == 0
        gone = asked(port)[0]

    assert gone == 0, "what listened ends with control"
    assert findings(fleet.env, "beat", "control") >= {"beat:beat", "control:tick"}
    assert findings(fleet.env, "database") == set()


def test_a_test_mail_gets_out_or_says_why_not(environment: Environment) -> None:
    with mail_server_here() as box:
        env = {
            **environment,
            "CARAVAN_SMTP_URL": f"smtp://127.0.0.1:{box.port}/?from=c@example.org&starttls=never",
            "CARAVAN_MAIL_TO": "ops@example.org",
        }
        sent = caravan("notify", "test", env=env)
        box.refuse = "550 no"
        refused = caravan("notify", "test", env=env, check=False)
    nobody = caravan("notify", "test", env=environment, check=False)

    assert "sent" in sent.stdout
    assert box.recipients[0] == "ops@example.org"
    assert (refused.returncode, "550" in refused.stderr) == (1, True)
    assert (nobody.returncode, "CARAVAN_SMTP_URL" in nobody.stderr) == (1, True)
