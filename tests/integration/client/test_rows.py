"""Rows, templates and several models in Python, and what becomes of jobs that come again."""

from pathlib import Path
from typing import Any

import pandas
import pytest
from sqlalchemy import text

import simulator
from caravan import BatchHandle, Caravan, Conflict, InputRefused, JobState

MODEL, OTHER = "llama3.2:3b", "qwen3:8b"
TEA: dict[str, Any] = {"sku": 7, "title": "Tea", "stars": 5}
CUP: dict[str, Any] = {"sku": 8, "title": "Cup", "stars": None}


def asked(batch: BatchHandle, caravan: Caravan) -> list[tuple[str, str, str]]:
    """Of each job its id, its model and its prompt."""
    query = "SELECT custom_id, model, prompt FROM jobs JOIN payloads ON job_id = id WHERE batch_id = :batch ORDER BY id"
    with caravan.database.read() as conn:
        return [tuple(row) for row in conn.execute(text(query), {"batch": batch.id})]


def count(batch: BatchHandle, state: JobState = JobState.QUEUED) -> int:
    return batch.progress().counts.get(state, 0)


# -- rows -------------------------------------------------------------------------------------------------------------


def test_rows_become_prompts_and_their_other_fields_metadata(caravan: Caravan) -> None:
    batch = caravan.submit(
        iter([TEA, CUP]), prompt="Sell {{ title }}{{ stars }}.", id_column="sku", model=MODEL
    )

    assert asked(batch, caravan) == [("7", MODEL, "Sell Tea5."), ("8", MODEL, "Sell Cup.")]
    assert [line["metadata"] for line in batch] == [
        {"sku": 7, "title": "Tea", "stars": 5},
        {"sku": 8, "title": "Cup", "stars": None},
    ]


def test_a_table_takes_a_template_file_and_a_system_prompt_of_its_columns(
    caravan: Caravan, tmp_path: Path
) -> None:
    template = tmp_path / "sell.j2"
    template.write_text("Sell {{ title }}{% if stars %}, {{ stars }} stars{% endif %}.")

    batch = caravan.submit(
        pandas.DataFrame([TEA, CUP]),
        template=template,
        system="You sell {{ title }}.",
        id_column="sku",
        model=MODEL,
    )

    assert [prompt for _, _, prompt in asked(batch, caravan)] == ["Sell Tea, 5.0 stars.", "Sell Cup."]
    with caravan.database.read() as conn:
        requests = [row.request for row in conn.execute(text("SELECT request FROM payloads ORDER BY job_id"))]
    assert ["You sell Tea." in request for request in requests] == [True, False]


def test_bare_texts_are_rows_with_a_prompt(caravan: Caravan) -> None:
    batch = caravan.submit(["some text"], prompt="Sum up: {{ prompt }}", model=MODEL)

    assert asked(batch, caravan) == [("line-1", MODEL, "Sum up: some text")]


def test_an_id_may_come_from_a_column_without_a_template(caravan: Caravan) -> None:
    batch = caravan.submit([{"sku": 7, "prompt": "x"}], id_column="sku", model=MODEL)

    assert asked(batch, caravan) == [("7", MODEL, "x")]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"prompt": "Sell {{ titel }}."}, "no column 'titel'; did you mean title"),
        ({"prompt": "Sell {{ title }."}, "prompt line 1"),
        ({"prompt": "Sell it."}, "takes no column"),
        ({"prompt": "{{ blank }}"}, "renders blank"),
        ({"prompt": "Sell {{ title }}.", "id_column": "blank"}, "'blank' is empty here"),
    ],
)
def test_a_template_that_does_not_fit_the_rows_is_refused_and_nothing_is_stored(
    caravan: Caravan, said: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputRefused, match=told):
        caravan.submit([TEA | {"blank": ""}, CUP | {"blank": " "}], model=MODEL, **said)
    assert all(not batch.progress().total for batch in caravan.batches())


@pytest.mark.parametrize(
    "rows", [[TEA, CUP] * 30, pandas.DataFrame([TEA, CUP] * 30)], ids=["list", "dataframe"]
)
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"id_column": "SKU"}, "id_column: no column 'SKU'; did you mean 'sku'?"),
        ({"prompt": "Sell {{ titel }}."}, "prompt line 1: no column 'titel'; did you mean title?"),
        ({"system": "Sell {{ titel }}."}, "system line 1: no column 'titel'; did you mean title?"),
    ],
)
def test_a_column_that_no_row_has_is_named_once_as_on_the_command_line(
    caravan: Caravan, rows: Any, said: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputRefused) as refused:
        caravan.submit(rows, model=MODEL, **{"prompt": "Sell {{ title }}.", **said})

    assert [problem.message for problem in refused.value.problems] == [told]
    assert caravan.batches() == []


def test_rows_that_cannot_be_written_are_named_beside_those_that_render_blank(caravan: Caravan) -> None:
    with pytest.raises(InputRefused) as found:
        caravan.submit([TEA, {"title": {1}}, {"title": ""}], prompt="{{ title }}", model=MODEL)

    assert {(problem.line, problem.code) for problem in found.value.problems} == {
        (2, "invalid_value"),
        (3, "blank_prompt"),
    }


# -- several models ---------------------------------------------------------------------------------------------------


def test_each_job_is_asked_of_each_model_and_one_that_names_its_own_of_that(caravan: Caravan) -> None:
    batch = caravan.submit(["x", {"prompt": "y", "model": "phi4:14b"}], model=[MODEL, OTHER])

    assert asked(batch, caravan) == [
        ("line-1", MODEL, "x"),
        ("line-1", OTHER, "x"),
        ("line-2", "phi4:14b", "y"),
    ]


def test_both_models_answer(caravan: Caravan) -> None:
    settings = simulator.HostSettings(name="gpu-1", models=simulator.demo_models(), time_scale=0.0)
    models = [model.name for model in simulator.demo_models()][:2]
    with simulator.running(settings) as (host,):
        batch = caravan.run(["x"], hosts=[host.url], model=models)

    assert [(line["model"], line["state"]) for line in batch] == [(name, "succeeded") for name in models]


# -- again ------------------------------------------------------------------------------------------------------------


def test_a_pilot_is_the_beginning_of_the_same_batch(caravan: Caravan) -> None:
    jobs = ["a", "b", "c"]

    pilot = caravan.submit(jobs, model=MODEL, limit=1)
    assert count(pilot) == 1
    rest = caravan.submit(jobs, model=MODEL)

    assert rest.id == pilot.id
    assert count(rest) == 3


def test_unnamed_jobs_that_differ_are_batches_of_their_own(caravan: Caravan) -> None:
    first, second = caravan.submit(["a"], model=MODEL), caravan.submit(["b"], model=MODEL)

    assert first.id != second.id
    assert first.name == second.name == "python"


def test_jobs_that_changed_under_a_name_wait_for_a_word(caravan: Caravan) -> None:
    rows = [{"custom_id": "a", "prompt": "x"}, {"custom_id": "b", "prompt": "y"}]
    changed = [rows[0], rows[1] | {"prompt": "z"}, {"custom_id": "c", "prompt": "w"}]
    first = caravan.submit(rows, model=MODEL, name="nightly")

    with pytest.raises(Conflict, match=r"1 kept, 1 new, 1 changed\. extend=True takes"):
        caravan.submit(changed, model=MODEL, name="nightly")
    extended = caravan.submit(changed, model=MODEL, name="nightly", extend=True)
    own = caravan.submit(changed, model=MODEL, name="nightly", new=True)

    assert extended.id == first.id
    assert asked(extended, caravan) == asked(own, caravan)
    assert own.id != first.id
    assert [prompt for _, _, prompt in asked(own, caravan)] == ["x", "z", "w"]


@pytest.mark.parametrize("key", [None, "mine"])
def test_a_cancelled_batch_is_not_given_back_for_the_same_jobs(caravan: Caravan, key: str | None) -> None:
    batch = caravan.submit(["x"], model=MODEL, key=key)
    batch.cancel()

    with pytest.raises(
        Conflict, match=r"was cancelled; new=True asks them in a batch of its own, batch\(1\)"
    ):
        caravan.submit(["x"], model=MODEL, key=key)
    again = caravan.submit(["x"], model=MODEL, key=key, new=True)

    assert again.id != batch.id
    assert count(again) == 1


def test_a_cancelled_batch_that_is_asked_again_is_the_batch_of_its_jobs(caravan: Caravan) -> None:
    batch = caravan.submit(["x"], model=MODEL)
    batch.cancel()

    assert batch.retry(["cancelled"]) == 1
    assert caravan.submit(["x"], model=MODEL).id == batch.id


def test_what_failed_is_asked_again_where_that_is_said(caravan: Caravan) -> None:
    def attempts() -> int:
        with caravan.database.read() as conn:
            return conn.scalar(text("SELECT count(*) FROM attempts")) or 0

    settings = simulator.HostSettings(name="gpu-1", models=simulator.demo_models(), time_scale=0.0)
    jobs = [{"prompt": "x", "suffix": "a suffix needs a model that can insert"}]
    with simulator.running(settings) as (host,):
        failed = caravan.run(jobs, hosts=[host.url], model=MODEL)
        same = caravan.run(jobs, hosts=[host.url], model=MODEL)
        assert (count(failed, JobState.FAILED), attempts()) == (1, 1)

        again = caravan.run(jobs, hosts=[host.url], model=MODEL, retry_failed=True)

        assert failed.id == same.id == again.id
        assert attempts() == 2


def test_more_failures_than_are_allowed_pause_the_batch(caravan: Caravan) -> None:
    settings = simulator.HostSettings(name="gpu-1", models=simulator.demo_models(), time_scale=0.0)
    jobs = [{"prompt": str(n), "suffix": "no model here can insert"} for n in range(12)]
    with simulator.running(settings) as (host,):
        batch = caravan.run(jobs, hosts=[host.url], model=MODEL, max_failures=3)

    assert batch.progress().batch.state == "paused"
    assert 4 <= count(batch, JobState.FAILED) <= 6


def test_a_deadline_is_the_jobs_own(caravan: Caravan) -> None:
    from datetime import UTC, datetime

    batch = caravan.submit(["x"], model=MODEL, deadline=datetime(2030, 1, 1, tzinfo=UTC))

    with caravan.database.read() as conn:
        deadline = conn.scalar(text("SELECT deadline FROM jobs WHERE batch_id = :b"), {"b": batch.id})
    assert str(deadline).startswith("2030-01-01")


@pytest.mark.parametrize(
    "said", [{"new": True, "retry_failed": True}, {"new": True, "extend": True}, {"key": "k", "extend": True}]
)
def test_arguments_that_would_have_no_effect_are_refused(caravan: Caravan, said: dict[str, Any]) -> None:
    with pytest.raises(InputRefused, match="has no effect beside"):
        caravan.submit(["x"], model=MODEL, **said)


def test_what_a_batch_that_is_there_cannot_take_on_is_refused_by_its_name_in_python(caravan: Caravan) -> None:
    first = caravan.submit(["x"], model=MODEL, name="ads")

    for said in ({"name": "ads2"}, {"max_failures": 3}, {"expires": True}):
        with pytest.raises(InputRefused) as refused:
            caravan.submit(["x"], model=MODEL, **said)
        assert str(refused.value).startswith(f"{next(iter(said))} cannot apply")
        assert "new=True" in str(refused.value) and "--" not in str(refused.value)
    assert caravan.submit(["x"], model=MODEL, name="ads").id == first.id


def test_failed_jobs_outside_of_a_limit_are_not_asked_again(caravan: Caravan) -> None:
    batch = caravan.submit(["a", "b", "c"], model=MODEL)
    with caravan.database.write() as conn:
        conn.execute(text("UPDATE jobs SET state = 'failed', finished_at = eligible_at"))

    caravan.submit(["a", "b", "c"], model=MODEL, limit=1, retry_failed=True)

    with caravan.database.read() as conn:
        states = list(conn.scalars(text("SELECT state FROM jobs ORDER BY id")))
    assert states[1:] == ["failed", "failed"] and states[0] != "failed"
    assert batch.id


def test_jobs_that_are_wrong_may_be_left_out_with_a_warning(caravan: Caravan) -> None:
    jobs = [{"prompt": "a"}, {"prompt": 7}, {"prompt": "c"}]

    with pytest.warns(UserWarning, match="1 job is wrong and left out, the first: line 2"):
        batch = caravan.submit(jobs, model=MODEL, on_bad_line="skip")

    assert [line for line, _, _ in asked(batch, caravan)] == ["line-1", "line-3"]
