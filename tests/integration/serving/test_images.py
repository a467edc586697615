"""Images on their way from a file to a model that reads them, and back with the answer, on both databases."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

import simulator
from api_schemas.submissions import Submission
from simulator import pictures
from tests.door import submit_file
from tests.integration.serving.test_serve import add, serve, simulated
from worker.clock import Clock
from worker.domain.selection import Selection
from worker.exports.results import result_lines
from worker.maintenance.actions import retry_jobs
from worker.policy.context_window import IMAGE_TOKENS
from worker.storage.engine import Database

MODEL = "llava:7b"
PICTURES = {"red.png": b"\x89PNG\r\n\x1a\nred", "blue.png": b"\x89PNG\r\n\x1a\nblue"}
SEEN = pictures.TOKENS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in PICTURES.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def seeing(**settings: Any) -> simulator.HostSettings:
    return simulated(models=(simulator.seeing_model(MODEL),), **settings)


def chat(number: int, *images: str) -> dict[str, Any]:
    message = {"role": "user", "content": "What is it?", "images": list(images)}
    return {"custom_id": str(number), "model": MODEL, "messages": [message]}


def written(folder: Path, *lines: dict[str, Any]) -> Path:
    path = folder / "in.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_an_image_is_the_same_to_a_model_whichever_way_it_is_named(
    database: Database, clock: Clock, folder: Path
) -> None:
    red = base64.b64encode(PICTURES["red.png"]).decode()
    ways: tuple[list[str], ...] = (
        [red],
        [f"data:image/png;base64,{red}"],
        ["file:red.png"],
        ["file:blue.png"],
        [],
    )
    path = written(folder, *(chat(number, *images) for number, images in enumerate(ways)))
    with simulator.running(seeing()) as (running,):
        host = add(database, clock, running)
        batch = submit_file(database, path, Submission(), clock=clock).batch
        serve(database, clock, host)

    *same, other, without = result_lines(database, Selection(batch.id))
    assert len({line["answer"] for line in same}) == 1
    assert other["answer"] not in (same[0]["answer"], None)
    assert {line["prompt_tokens"] - without["prompt_tokens"] for line in (*same, other)} == {SEEN}
    assert SEEN <= IMAGE_TOKENS


def test_a_job_keeps_its_images_when_their_files_are_gone_and_when_it_is_asked_again(
    database: Database, clock: Clock, folder: Path
) -> None:
    table = folder / "rows.csv"
    table.write_text("id,photo,back\na,red.png,blue.png\nb,,\n")
    recipe = Submission(
        models=(MODEL,), prompt="Say {{ id }}.", id_column="id", image_columns=("photo", "back"), chat=True
    )
    fault = simulator.Fault("error", prompt="Say a.", status=400, text="not today")
    with simulator.running(seeing(faults=(fault,))) as (running,):
        host = add(database, clock, running)
        batch = submit_file(database, table, recipe, clock=clock).batch
        for name in PICTURES:
            (folder / name).unlink()
        serve(database, clock, host)
        states = [line["state"] for line in result_lines(database, Selection(batch.id))]
        retry_jobs(database, Selection(batch.id), clock=clock)
        serve(database, clock, host)

    both, none = result_lines(database, Selection(batch.id))
    assert states == ["failed", "succeeded"]
    assert both["prompt_tokens"] - none["prompt_tokens"] == 2 * SEEN
    assert both["metadata"] == {"photo": "red.png", "back": "blue.png"}


@pytest.mark.parametrize("line", ["O", "H"])
def test_what_is_no_image_fails_once_and_by_name(
    database: Database, clock: Clock, folder: Path, line: simulator.Line
) -> None:
    path = written(folder, chat(1, base64.b64encode(b"words").decode()), chat(2, "file:red.png"))
    with simulator.running(seeing(line=line)) as (running,):
        host = add(database, clock, running)
        batch = submit_file(database, path, Submission(), clock=clock).batch
        serve(database, clock, host)

    wrong, right = result_lines(database, Selection(batch.id))
    assert (wrong["error"]["code"], wrong["attempts"]) == ("invalid_request", 1)
    assert "image" in wrong["error"]["message"]
    assert right["state"] == "succeeded"
