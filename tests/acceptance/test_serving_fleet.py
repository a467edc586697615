"""What a fleet that serves is asked: by applications that know only the broker, and by commands. It is started once."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Connection, Exchange, Producer, Queue

import simulator
from tests.acceptance.conftest import MODELS, Fleet, a_fleet, an_environment, two_hosts, write_jobs
from tests.processes import Processes
from tests.repo.docs.pages import DOCS, ROOT, blocks
from tests.servers.cleaned import Cleaned
from tests.waiting import wait_until
from worker.storage.reports import list_models

PROJECT = """
import json, sys
from caravan.celery import SubmissionRefused, submit

field = sys.argv[4]
rows = ({"custom_id": f"r{n}", field: f"Judge review {n}."} for n in range(int(sys.argv[1])))
try:
    answer = submit(rows, key=sys.argv[2], model=sys.argv[3], options={"num_predict": 2}, timeout=60)
    print(answer.model_dump_json())
except SubmissionRefused as error:
    print(json.dumps({"batch": error.batch, "problems": [str(one.message) for one in error.problems]}))
assert not {"sqlalchemy", "worker"} & {*sys.modules}
"""


@pytest.fixture(scope="module")
def fleet(
    tmp_path_factory: pytest.TempPathFactory, _redis: str, _cleaned_postgres: Cleaned
) -> Iterator[Fleet]:
    """It serves already, and goes on to."""
    folder = tmp_path_factory.mktemp("fleet")
    with redis.Redis.from_url(_redis) as client:
        client.flushdb()
    url = _cleaned_postgres.take()
    processes = Processes(folder)
    with simulator.running(*two_hosts()) as hosts:
        with a_fleet(an_environment(folder / "home"), processes, hosts, _redis, url) as ready:
            ready.start_all()
            yield ready
            processes.end()
    _cleaned_postgres.give_back(url)


def produce(fleet: Fleet, folder: Path, jobs: int, key: str, field: str = "prompt") -> dict[str, Any]:
    """Run a program in a project with a ``worker.py`` of its own, which is given the broker's URL and nothing else."""
    (folder / "worker.py").write_text("raise ImportError('of the project')")
    (folder / "project.py").write_text(PROJECT)
    done = subprocess.run(
        [sys.executable, "project.py", str(jobs), key, MODELS[0], field],
        cwd=folder,
        env={"CARAVAN_BROKER_URL": fleet.env["CARAVAN_BROKER_URL"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def refused(fleet: Fleet, key: str) -> str:
    """What ``caravan status`` says once the batch is refused."""
    wait_until(lambda: fleet.status(key)["state"] == "refused", description=f"{key} is refused")
    return fleet.run("status", key, check=False).stdout


def test_a_project_with_nothing_but_the_broker_submits_learns_and_is_answered(
    fleet: Fleet, tmp_path: Path
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    first = produce(fleet, folder, 2100, "reviews")
    again = produce(fleet, folder, 2100, "reviews")
    wrong = produce(fleet, folder, 2, "wrong", field="promt")
    cancelled = fleet.run("cancel", "reviews", "--yes", check=False)

    assert (first["state"], first["jobs"], first["created"]) == ("open", 2100, True)
    assert (again["batch"], again["jobs"], again["created"]) == (first["batch"], 2100, False)
    assert any(message.startswith("promt: unknown field") for message in wrong["problems"])
    assert "line 2: promt: unknown field" in refused(fleet, "wrong")
    assert cancelled.returncode == 0
    small = produce(fleet, folder, 4, "small")
    fleet.wait_finished("small")
    assert [line["custom_id"] for line in fleet.results(str(small["batch"]))] == ["r0", "r1", "r2", "r3"]


def test_the_documented_message_is_answered_and_an_unreadable_one_is_a_refused_batch(fleet: Fleet) -> None:
    url = fleet.env["CARAVAN_BROKER_URL"]
    _, snippet = blocks(DOCS / "howto/celery.md", "python")
    names: dict[str, Any] = {}
    code = snippet.text.replace("redis://redis.internal:6379/0", url)

    exec(code, names)
    fleet.wait_finished("reviews-2026-11-24")
    assert names["answer"]["state"] in ("open", "finished")
    assert [line["custom_id"] for line in fleet.results("reviews-2026-11-24")] == ["r1", "r2"]

    app: Celery = names["app"]
    app.send_task("caravan.submit", kwargs={"key": "bad", "jobs": [{"prompt": "x"}]}, queue="submit")
    app.send_task("caravan.submit", kwargs={"key": "many", "jobs": [{}] * 1001}, queue="submit")
    app.send_task("caravan.sumbit", kwargs={"key": "k"}, task_id="misspelt", queue="submit")
    queue = Queue("submit", Exchange("submit", type="direct"), routing_key="submit")
    with Connection(url, transport_options={"global_keyprefix": "caravan:"}) as connection:
        producer = Producer(connection, exchange=queue.exchange, routing_key="submit")
        producer.publish(
            b"{not JSON", content_type="application/json", content_encoding="utf-8", headers={"id": "torn"}
        )

    assert "model: missing" in refused(fleet, "bad")
    assert "at most 1000 are taken" in refused(fleet, "many")
    assert "there is no task 'caravan.sumbit'" in refused(fleet, "celery-misspelt")
    assert "the message cannot be read" in refused(fleet, "celery-torn")
    again = app.send_task(
        "caravan.submit", kwargs={"key": "many", "jobs": [], "submission": {}}, queue="submit"
    )
    assert again.get(timeout=30)["problems"][0]["code"] == "empty"


def test_a_question_to_a_fleet_is_answered_by_whoever_serves(fleet: Fleet) -> None:
    answered = fleet.run("ask", "Why is the sky blue?", "--model", "llama3.2:3b", "--json")

    answer = json.loads(answered.stdout)
    assert (answer["state"], answer["host"] in {"gpu-1", "gpu-2"}) == ("succeeded", True)
    assert answer["answer"]


@pytest.mark.fault(23)
def test_a_cancelled_batch_stops_within_seconds(fleet: Fleet, tmp_path: Path) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 2000)
    fleet.run("submit", str(file))
    wait_until(lambda: fleet.status()["done"] > 10, description="the workers work")

    fleet.run("cancel", "@last", "--yes")

    wait_until(lambda: fleet.status()["done"] == 2000, description="nothing is left", timeout=10)
    counts = fleet.status()["counts"]
    assert counts["cancelled"] + counts["succeeded"] == 2000


def test_a_producer_that_speaks_celery_is_answered_once_however_often_it_sends(fleet: Fleet) -> None:
    app = Celery("producer", broker=fleet.env["CARAVAN_BROKER_URL"])
    app.conf.broker_transport_options = {"global_keyprefix": "caravan:"}
    jobs = [{"model": "llama3.2:3b", "prompt": f"Say {n}."} for n in range(5)]
    for key, sent in (("five", jobs), ("five", jobs), ("misspelt", [{"model": "llama3.2:3b", "promt": "x"}])):
        app.send_task("caravan.submit", args=[key, sent], queue="chores")
    app.close()

    wait_until(lambda: fleet.status("misspelt")["state"] == "refused", description="it is refused")
    assert fleet.wait_finished("five")["counts"] == {"succeeded": 5}
    shown = fleet.run("status", "misspelt", "--json", check=False)
    refused = json.loads(shown.stdout)
    assert (shown.returncode, refused["state"]) == (2, "refused")
    assert any("promt" in problem for problem in refused["problems"])


def test_on_a_fleet_the_worker_of_each_host_does_it(fleet: Fleet) -> None:
    copied = fleet.run("models", "cp", MODELS[0], "twin:1b", "--json")
    removed = fleet.run("models", "rm", "twin:1b", "--host", "gpu-1", "--json")

    assert {part["state"] for part in json.loads(copied.stdout)["parts"]} == {"done"}
    assert json.loads(removed.stdout)["state"] == "done"
    with fleet.database.read() as conn:
        assert [known.host for known in list_models(conn) if known.name == "twin:1b"] == ["gpu-2"]
