"""An application that knows only the broker puts jobs in with the snippet of its page."""

import json
from typing import Any

from tests.acceptance.conftest import MODELS, Fleet
from tests.repo.docs.pages import DOCS, blocks
from tests.waiting import wait_until


def refused(fleet: Fleet, key: str) -> str:
    """What ``caravan status`` says once the batch is refused."""
    wait_until(lambda: fleet.status(key)["state"] == "refused", description=f"{key} is refused")
    return fleet.run("status", key, check=False).stdout


def test_the_snippet_submits_a_batch_once_and_bad_jobs_are_refused_by_their_lines(fleet: Fleet) -> None:
    fleet.start_all()
    [snippet] = blocks(DOCS / "celery_producers.md", "python")
    names: dict[str, Any] = {}
    code = snippet.text.replace("redis://redis.internal:6379/0", fleet.env["CARAVAN_BROKER_URL"])

    exec(code, names)
    fleet.wait_finished("reviews-2026-11-23")
    exec(code, names)
    send = names["app"].send_task
    bad = [{"model": MODELS[0], "prompt": "fine"}, {"model": MODELS[0], "promt": "misspelt"}]
    send("caravan.submit", kwargs={"key": "bad", "jobs": bad}, queue="submit")
    many = [{"model": MODELS[0], "prompt": "x"}] * 1001
    send("caravan.submit", kwargs={"key": "many", "jobs": many}, queue="submit")

    assert "line 2" in refused(fleet, "bad")
    assert "at most 1000 are taken" in refused(fleet, "many")
    assert [line["custom_id"] for line in fleet.results("reviews-2026-11-23")] == ["r1", "r2"]
    listed = json.loads(fleet.run("batches", "--json").stdout)
    assert sorted(batch["key"] for batch in listed) == ["bad", "many", "reviews-2026-11-23"]
