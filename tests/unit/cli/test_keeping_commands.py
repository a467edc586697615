"""``caravan prune`` and ``delete`` on the command line: what they say first, what they refuse, and what they print."""

import json

import pytest
from sqlalchemy import text

from tests.integration.storage.conftest import Store, new_job
from tests.shell import Shell
from worker.domain.jobs import JobState
from worker.storage.batches import finish_batches


@pytest.fixture
def store(store: Store) -> Store:
    """Two finished batches that ended years ago, and an open one."""
    store.now = store.now.replace(year=2020)
    for _ in range(2):
        store.submit(*(new_job(n, metadata={"customer": n}) for n in (1, 2, 3)))
        for job in store.claim():
            store.finish(job)
    with store.database.write() as conn:
        finish_batches(conn, now=store.now)
    store.submit(*(new_job(n, metadata={"customer": n}) for n in (1, 2, 3)))
    return store


def there(store: Store) -> int:
    with store.database.read() as conn:
        return conn.scalar(text("SELECT count(*) FROM jobs")) or 0


def test_a_prune_says_first_what_goes(store: Store, shell: Shell) -> None:
    told = shell("prune", "--older-than", "90d", "--dry-run")

    assert told.stdout.splitlines()[0] == "would prune 6 jobs of 2 batches"
    assert "batch 1 (b), ended 2020-11-2" in told.stdout
    assert there(store) == 9


def test_a_prune_that_nobody_can_answer_for_is_refused(store: Store, shell: Shell) -> None:
    refused = shell("prune", "--older-than", "90d")

    assert refused.exit_code == 1
    assert "give --yes" in refused.stderr and there(store) == 9


def test_a_prune_takes_what_is_old(store: Store, shell: Shell) -> None:
    done = shell("prune", "--older-than", "90d", "--yes")

    assert done.stdout.startswith("6 jobs of 2 batches pruned")
    assert there(store) == 3
    status = shell("status", "1")
    assert "3 of 3 done" in status.stdout and "prompts and answers are gone" in status.stdout
    assert json.loads(shell("status", "1", "--json").stdout)["pruned_at"]
    results = shell("results", "1")
    assert (results.stdout, "of its 3 jobs are gone" in results.stderr) == ("", True)


def test_without_an_age_the_settings_say_what_is_old(
    store: Store, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = shell("prune", "--yes")
    monkeypatch.setenv("CARAVAN_KEEP_DAYS", "30")
    figures = json.loads(shell("prune", "--yes", "--json").stdout)

    assert nothing.stdout == "nothing to prune\n"
    assert (figures["batches"], figures["jobs"], figures["dry_run"]) == ([1, 2], 6, False)


def test_a_batch_that_is_named_is_pruned_whatever_its_age(store: Store, shell: Shell) -> None:
    assert shell("prune", "2", "--yes").stdout.startswith("3 jobs of 1 batch pruned")
    still_open = shell("prune", "3", "--yes")

    assert (still_open.exit_code, "caravan delete 3 cancels it first" in still_open.stderr) == (1, True)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["prune", "--older-than", "soon"], "expected a time such as 30d"),
        (["prune", "--older-than", "forever"], "expected a time"),
        (["prune", "1", "--older-than", "90d"], "give one"),
        (["delete"], "name batches"),
        (["delete", "--all", "1"], "name batches"),
        (["delete", "--all"], "--where, --custom-id or --matching"),
        (["delete", "1", "--where", "customer"], "KEY=VALUE"),
    ],
)
def test_what_is_half_said_is_refused(store: Store, shell: Shell, command: list[str], told: str) -> None:
    refused = shell(*command, "--yes")

    assert refused.exit_code == 2
    assert told in " ".join(refused.stderr.replace("│", " ").split())
    assert there(store) == 9


def test_a_producers_data_goes_from_every_batch(store: Store, shell: Shell) -> None:
    asked = shell("delete", "--all", "--where", "customer=2", "--dry-run")
    done = json.loads(shell("delete", "--all", "--where", "customer=2", "--yes", "--json").stdout)

    assert asked.stdout == "would delete 3 jobs of 3 batches\n"
    assert (done["jobs"], done["batches"]) == (3, [])
    assert there(store) == 6
    assert store.counts() == {JobState.QUEUED: 2, JobState.CANCELLED: 1}


def test_a_whole_batch_goes_with_what_it_still_had_to_do(store: Store, shell: Shell) -> None:
    done = shell("delete", "3", "--yes")

    assert done.stdout == "3 jobs deleted; nothing is left of batch 3\n"
    assert shell("delete", "3", "--yes").stdout == "no jobs to delete\n"
    assert shell("db", "check").exit_code == 0


def test_a_retry_counts_only_what_is_there(store: Store, shell: Shell) -> None:
    shell("delete", "3", "--custom-id", "c1", "--yes")

    told = shell("retry", "3", "--state", "cancelled", "--dry-run")

    assert told.stdout == "0 cancelled jobs of batch 3 (b)\n"


def test_the_flag_for_any_answer_may_have_its_value(shell: Shell) -> None:
    told = shell("submit", "nothing.jsonl", "--reuse=any")

    assert (told.exit_code, "nothing.jsonl" in told.stderr) == (2, True)


@pytest.mark.parametrize("keep", ["30", "-1d", "soon", ""])
def test_a_time_to_keep_that_is_none_is_refused(shell: Shell, keep: str) -> None:
    told = shell("submit", "nothing.jsonl", "--keep", keep)

    assert (told.exit_code, "--keep" in told.stderr) == (2, True)
