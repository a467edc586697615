"""``caravan search`` and ``--matching`` on the command line."""

import json

import pytest
from typer.testing import Result

from tests.integration.storage.conftest import Store, a_result, new_job
from tests.shell import Shell
from worker.domain.attempts import Succeeded
from worker.domain.jobs import JobState
from worker.storage.batches import finish_batches

PROMPTS = ("How do I install the driver?", "显卡驱动怎么装？", "Where is the café?")
ANSWERS = ("Out of memory.", "显存不足", "Memory lane, out of town.")


@pytest.fixture
def store(store: Store) -> Store:
    """A finished batch, and one whose jobs wait."""
    store.submit(*(new_job(n, prompt=PROMPTS[n - 1]) for n in (1, 2, 3)))
    for job, answer in zip(store.claim(), ANSWERS, strict=True):
        store.finish(job, Succeeded(a_result(answer=answer)))
    with store.database.write() as conn:
        finish_batches(conn, now=store.now)
    store.submit(*(new_job(n, prompt=PROMPTS[n - 1]) for n in (1, 2, 3)))
    return store


def ids(told: Result) -> list[str]:
    return [hit["custom_id"] for hit in json.loads(told.stdout)["hits"]]


def test_a_search_shows_where_and_marks_what(store: Store, shell: Shell) -> None:
    told = shell("search", "显存")

    job = (1 << 24) + 2
    assert told.stdout == f"{job}  1:c2  qwen3:8b  succeeded\n  answer: [显存]不足\n"
    assert told.stderr == "1 job found\n"


def test_an_argument_with_spaces_is_a_phrase_and_one_with_a_minus_is_not_wanted(
    store: Store, shell: Shell
) -> None:
    assert ids(shell("search", "out", "memory", "--json")) == ["c3", "c1"]
    assert ids(shell("search", "out of memory", "--json")) == ["c1"]
    assert ids(shell("search", "out", "memory", "-cafe", "--json")) == ["c1"]
    assert ids(shell("search", "--json", "memory", "-lane", "--in", "answer")) == ["c1"]
    assert ids(shell("search", 'memory -"out of memory"', "--json")) == ["c3"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["memory", "--bogus"], "no such option: --bogus"),
        (["!!!"], "'!!!' has no letter and no digit in it\n"),
        (["-memory"], "only words that are not wanted were given\n"),
        (["memory", "--in", "title"], "title is unknown; expected one of prompt, answer"),
    ],
)
def test_what_cannot_be_searched_for_is_refused(
    store: Store, shell: Shell, arguments: list[str], told: str
) -> None:
    refused = shell("search", *arguments)

    assert refused.exit_code == 2
    assert told in refused.stderr


def test_jobs_that_wait_are_cancelled_by_their_words(store: Store, shell: Shell) -> None:
    counted = shell("cancel", "2", "--matching", "驱动", "--dry-run")
    none = shell("cancel", "2", "--matching", "zebra", "--yes")
    done = shell("cancel", "2", "--matching", "驱动", "--yes")

    assert counted.stdout == "would cancel 1 job of batch 2 (b)\n"
    assert none.stdout == "0 jobs of batch 2 (b)\n"
    assert "1 job cancelled" in done.stdout
    assert store.counts(2)[JobState.QUEUED] == 2


def test_jobs_are_asked_again_by_their_words(store: Store, shell: Shell) -> None:
    shell("cancel", "2", "--yes")

    done = shell("retry", "2", "--state", "cancelled", "--matching", "driver", "--yes")

    assert "1 cancelled job asked again" in done.stdout or "1 job asked again" in done.stdout


def test_jobs_of_every_batch_are_deleted_by_their_words(store: Store, shell: Shell) -> None:
    counted = shell("delete", "--all", "--matching", "cafe", "--dry-run")
    done = shell("delete", "--all", "--matching", "cafe", "--yes")
    again = shell("delete", "--all", "--matching", "cafe", "--yes")

    assert counted.stdout == "would delete 2 jobs of 2 batches\n"
    assert done.stdout == "2 jobs deleted\n"
    assert again.stdout == "no jobs to delete\n"
    assert ids(shell("search", "cafe", "--json")) == []


def test_results_are_written_by_their_words(store: Store, shell: Shell) -> None:
    told = shell("results", "1", "--matching", "memory -lane")

    assert [json.loads(line)["custom_id"] for line in told.stdout.splitlines()] == ["c1"]
    assert shell("results", "1", "--matching", "zebra").stdout == ""
    assert "needs a batch" in shell("results", "--as", "csv", "--matching", "memory").stderr
