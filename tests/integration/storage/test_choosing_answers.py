"""Answers that were cut, are empty or unfit, on the command line and in Python: counted, chosen, asked again."""

import json
from pathlib import Path

import pytest

from caravan import Caravan
from tests.integration.storage.conftest import Store, a_result, new_job
from tests.shell import Shell
from worker.domain.answers import AnswerCounts
from worker.domain.attempts import Failed, Succeeded
from worker.domain.jobs import JobState
from worker.errors import Code


@pytest.fixture(autouse=True)
def settings(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARAVAN_DATABASE_URL", migrated_url)


@pytest.fixture
def reviews(store: Store) -> int:
    """c1 is cut, c2 cut and empty, c3 unfit, c4 unknown, c5 as it should be, c6 failed for being cut."""
    batch = store.submit(*(new_job(seq) for seq in range(1, 7)), key="reviews-1")
    cut, empty, unfit, unknown, whole, failed = store.claim()
    store.finish(cut, Succeeded(a_result(cut=True, answer="half")))
    store.finish(empty, Succeeded(a_result(cut=True, answer="")))
    store.finish(unfit, Succeeded(a_result(prompt_fit="no")))
    store.finish(unknown, Succeeded(a_result(prompt_fit="unknown")))
    store.finish(whole)
    store.finish(failed, Failed(Code.CUT, "the answer was cut", result=a_result(cut=True)))
    return batch


CHOSEN = {
    ("--cut",): ["c1", "c2", "c6"],
    ("--empty",): ["c2"],
    ("--cut", "--empty"): ["c2"],
    ("--prompt-fit", "no"): ["c3"],
    ("--prompt-fit", "no", "--prompt-fit", "unknown"): ["c3", "c4"],
    ("--cut", "--prompt-fit", "no"): [],
    ("--cut", "--state", "succeeded"): ["c1", "c2"],
}


@pytest.mark.parametrize("options", CHOSEN, ids=" ".join)
def test_each_command_that_chooses_jobs_chooses_by_their_answers(
    shell: Shell, reviews: int, options: tuple[str, ...], tmp_path: Path
) -> None:
    expected = CHOSEN[options]

    printed = [json.loads(line) for line in shell("results", "@last", *options).stdout.splitlines()]
    assert [line["custom_id"] for line in printed] == expected
    as_they_came = shell("results", "--after", "0", *options).stdout.splitlines()
    assert sorted(json.loads(line)["custom_id"] for line in as_they_came) == expected
    listed = json.loads(shell("jobs", "@last", *options, "--json").stdout)
    assert [line["custom_id"] for line in listed] == expected
    for command in ("retry", "delete"):
        counted = json.loads(shell(command, "@last", *options, "--dry-run", "--json").stdout)
        assert counted["jobs"] == len(expected), command
    again = shell("submit", "--from", "@last", *options, "--set", "num_predict=4096", "--json")
    assert again.exit_code == (0 if expected else 2), again.stderr
    if expected:
        assert json.loads(again.stdout)["total"] == len(expected)


def test_a_status_counts_answers_to_look_at_and_names_a_command_that_works(
    store: Store, shell: Shell, reviews: int
) -> None:
    text = shell("status", "@last").stdout
    assert f"2 answers were cut by num_predict or a full window: caravan retry {reviews} --cut" in text
    assert "1 answer was empty" in text
    assert f"caravan retry {reviews} --prompt-fit no" in text
    plain = json.loads(shell("status", "@last", "--json").stdout)
    assert plain["answers"] == {"cut": 2, "empty": 1, "unfit": 1}

    run = shell("retry", str(reviews), "--cut", "--set", "num_predict=4096", "--yes")

    assert (run.exit_code, run.stdout) == (0, f"batch {reviews} (b): 3 jobs asked again\n")
    assert store.counts() == {JobState.QUEUED: 3, JobState.SUCCEEDED: 3}
    assert json.loads(shell("status", "@last", "--json").stdout)["answers"]["cut"] == 2, "until there are new"
    [line] = [
        json.loads(one)
        for one in shell("results", "@last", "--state", "succeeded", "--cut").stdout.splitlines()
    ][:1]
    assert (line["state"], line["answer"]) == ("succeeded", "half")


def test_a_command_that_names_an_answered_job_says_how_it_is_asked_again(
    store: Store, shell: Shell, reviews: int
) -> None:
    run = shell("retry", "--job", "@last:c5", "--yes")
    assert (run.exit_code, "--state succeeded" in run.stdout) == (0, True)

    assert "1 job asked again" in shell("retry", "--job", "@last:c5", "--state", "succeeded", "--yes").stdout
    assert store.counts()[JobState.QUEUED] == 1


def test_a_cancelled_retry_is_no_loss(store: Store, shell: Shell, reviews: int) -> None:
    shell("retry", "@last", "--cut", "--state", "succeeded", "--yes")

    assert shell("cancel", "@last", "--cut", "--yes").stdout == f"batch {reviews} (b): 2 jobs cancelled\n"

    assert store.counts() == {JobState.SUCCEEDED: 5, JobState.FAILED: 1}


def test_an_explanation_of_a_job_says_what_is_wrong_with_its_answer(shell: Shell, reviews: int) -> None:
    assert "--cut --set num_predict" in shell("explain", "@last:c1").stdout
    assert "empty" in shell("explain", "@last:c2").stdout
    assert "--prompt-fit no" in shell("explain", "@last:c3").stdout
    shell("retry", "@last", "--cut", "--yes")
    assert "its old answer stays" in shell("explain", "@last:c1").stdout
    assert "its old answer stays" not in shell("explain", "@last:c6").stdout


def test_python_counts_and_asks_again_what_was_cut(store: Store, migrated_url: str, reviews: int) -> None:
    with Caravan(database_url=migrated_url) as caravan:
        batch = caravan.batch(reviews)
        assert batch.answer_counts() == AnswerCounts(cut=2, empty=1, unfit=1)

        assert batch.retry(prompt_fit={"no"}) == 1
        assert batch.retry(cut=True, empty=True, options={"num_predict": 4096}) == 1
        assert batch.retry() == 1

        assert [line["custom_id"] for line in batch.results(states={"succeeded"})] == [
            f"c{n}" for n in range(1, 6)
        ]
        with pytest.raises(ValueError, match="maybe"):
            batch.retry(prompt_fit={"maybe"})  # type: ignore[arg-type]
