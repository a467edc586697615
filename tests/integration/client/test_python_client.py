"""``from caravan import Caravan``: as the page for it shows, and what may be given to it."""

from pathlib import Path
from typing import Any

import pandas
import pytest
from pydantic import BaseModel
from sqlalchemy import text

import simulator
from caravan import Caravan, InputRefused, NoHost
from tests.repo.docs.pages import DOCS, blocks
from worker.domain.selection import Selection
from worker.exports.files import ResultWriter

MODEL = "llama3.2:3b"


def test_the_examples_of_the_page_run(
    host: simulator.RunningHost, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    for block in blocks(DOCS / "howto/python.md", "python"):
        exec(block.text.replace("http://gpu-1:11434", host.url), names)

    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("line-1 succeeded ")
    assert any(line.startswith("tea succeeded ") for line in printed)
    assert "3 jobs in batch moods" in printed
    assert "3 of 3" in printed
    assert [line.split()[0] for line in printed[-5:-2]] == ["r0", "r1", "r2"]
    assert printed[-2:] == [
        "0 are asked again",
        "{'custom_id': ['a', 'b'], 'state': ['succeeded', 'succeeded']}",
    ]
    assert "tea llama3.2:3b 5" in printed
    assert "pot qwen2.5:7b 3" in printed
    with Caravan() as caravan:
        assert caravan.batch("moods") == names["same"]


def test_a_table_becomes_jobs_and_results_a_table(host: simulator.RunningHost, tmp_path: Path) -> None:
    table = pandas.DataFrame(
        {"custom_id": ["a", "b"], "prompt": ["x", "y"], "stars": [5, None], "priority": ["high", None]}
    )
    heard: list[int] = []

    with Caravan(home=tmp_path) as caravan:
        batch = caravan.run(
            table, hosts=[host.url], model=MODEL, callback=lambda progress: heard.append(progress.done)
        )
        found = batch.to_dataframe()

    assert list(found["custom_id"]) == ["a", "b"]
    assert list(found["state"]) == ["succeeded", "succeeded"]
    assert found["stars"].dropna().to_list() == [5.0]
    assert heard[-1] == 2


def test_a_run_leaves_no_result_without_its_number(host: simulator.RunningHost, tmp_path: Path) -> None:
    with Caravan(home=tmp_path) as caravan:
        caravan.run([{"prompt": f"Say {n}."} for n in range(9)], hosts=[host.url], model=MODEL)
        with caravan.database.read() as conn:
            numbers = conn.execute(text("SELECT number FROM report_numbers")).scalars().all()

    assert len(numbers) == 9


def test_a_dataframe_of_results_is_the_table_of_parquet(host: simulator.RunningHost, tmp_path: Path) -> None:
    rows = [
        {"sku": "b", "title": "Cup", "stars": 5, "price": 2.5, "sold": True},
        {"sku": "a", "title": None, "stars": None, "price": 3, "sold": None},
    ]
    file = tmp_path / "answers.parquet"

    with Caravan(home=tmp_path) as caravan:
        batch = caravan.run(
            rows, prompt="Praise {{ title }} {{ stars }}.", id_column="sku", hosts=[host.url], model=MODEL
        )
        found = batch.to_dataframe()
        ResultWriter(caravan.database, Selection(batch.id)).file(file)

    stored = pandas.read_parquet(file, dtype_backend="numpy_nullable")
    assert list(found["sku"]) == ["b", "a"]
    assert list(found.columns) == list(stored.columns)
    for name in found.columns:
        assert found[name].astype(object).where(found[name].notna(), None).to_list() == (
            stored[name].astype(object).where(stored[name].notna(), None).to_list()
        ), name
    assert str(found["stars"].dtype) == "Int64"
    assert str(found["sold"].dtype) == "boolean"
    assert str(found["finished_at"].dtype) == "datetime64[us, UTC]"


def test_a_progress_bar_shows_how_far_a_run_is(
    host: simulator.RunningHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[int] = []
    with Caravan(home=tmp_path) as caravan:
        caravan.run(
            ["x", "y"],
            name="moods",
            hosts=[host.url],
            model=MODEL,
            progress_bar=True,
            callback=lambda progress: heard.append(progress.done),
        )

    shown = capsys.readouterr()
    assert "moods" in shown.err
    assert "2/2" in shown.err
    assert shown.out == ""
    assert heard[-1] == 2


def test_the_same_jobs_are_the_same_batch_and_a_finished_one_asks_no_host(
    host: simulator.RunningHost, tmp_path: Path
) -> None:
    with Caravan(home=tmp_path) as caravan:
        first = caravan.run(["x"], hosts=[host.url], model=MODEL)
        second = caravan.run(["x"], hosts=[host.url], model=MODEL)

    assert first.id == second.id
    assert host.state()["requests"] == 1


def test_jobs_may_be_models_and_a_shape_a_class(tmp_path: Path) -> None:
    class Job(BaseModel):
        custom_id: str
        prompt: str
        priority: str | None = None

    class Shape(BaseModel):
        mood: str

    with Caravan(home=tmp_path) as caravan:
        batch = caravan.submit([Job(custom_id="a", prompt="x")], model=MODEL, format=Shape)

        assert [line["custom_id"] for line in batch] == ["a"]
        assert caravan.batch("@last").id == batch.id
        assert batch.cancel() == 1
        assert batch.retry({"cancelled"}) == 1


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ({"promt": "x"}, "did you mean prompt"),
        (7, "got int"),
        ({"prompt": "x", "metadata": {"a": {1, 2}}}, "cannot be written as JSON"),
    ],
)
def test_bad_jobs_are_refused_by_their_place(tmp_path: Path, job: Any, told: str) -> None:
    with Caravan(home=tmp_path) as caravan, pytest.raises(InputRefused) as refused:
        caravan.submit([{"prompt": "fine"}, job], model=MODEL)

    assert {problem.line for problem in refused.value.problems} == {2}
    assert any(told in str(problem) for problem in refused.value.problems)


def test_without_a_host_that_answers_nothing_is_submitted(tmp_path: Path) -> None:
    with Caravan(home=tmp_path) as caravan:
        with pytest.raises(NoHost, match="no host can be reached"):
            caravan.run(["x"], hosts=["http://127.0.0.1:9"], model=MODEL)
        assert caravan.batches() == []


def test_waiting_ends_after_its_time(tmp_path: Path) -> None:
    with (
        Caravan(home=tmp_path) as caravan,
        pytest.raises(TimeoutError, match="batch 1 is not done after"),
    ):
        caravan.submit(["x"], model=MODEL).wait(timeout=0.01, poll=0.01)
