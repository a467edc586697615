"""Second thoughts on the command line: asked with a count, refused where nobody can answer, and never half said."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.storage.conftest import NOW, Store, a_result, ending, new_job, refuse_batch
from tests.shell import Shell
from worker.domain.attempts import Failed, Held, Succeeded
from worker.domain.batches import BatchState
from worker.domain.jobs import JobState
from worker.errors import Code, Problem
from worker.serving.brake import apply_brakes
from worker.storage.batches import create_batch, get_batch
from worker.storage.finishes import finish_jobs


@pytest.fixture
def reviews(store: Store) -> int:
    """Of 30 jobs 20 failed, 2 are held, 1 succeeded and 7 are queued."""
    batch = store.submit(*(new_job(seq) for seq in range(1, 31)), key="reviews-1")
    jobs = store.claim(23)
    ends = [ending(job, Failed(Code.CONTEXT_OVERFLOW, "the prompt is too\nlong")) for job in jobs[:19]]
    ends.append(ending(jobs[19], Failed(Code.UNSUPPORTED, "no vision")))
    ends += [ending(job, Held(Code.RUNNER_DIED, "it died")) for job in jobs[20:22]]
    with store.database.write() as conn:
        finish_jobs(conn, [*ends, ending(jobs[22])], now=NOW)
    return batch


def state(store: Store, batch: int) -> BatchState:
    with store.database.read() as conn:
        return get_batch(conn, batch).state


def test_a_retry_asks_with_a_count_and_does_what_it_says(
    store: Store, shell: Shell, reviews: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("worker.cli.confirm.can_ask", lambda: True)

    def confirm(question: str, **_: object) -> bool:
        asked.append(question)
        return len(asked) > 1

    monkeypatch.setattr("typer.confirm", confirm)

    refused = shell("retry", "reviews", "--code", "context_overflow")
    assert (refused.exit_code, store.counts()[JobState.FAILED]) == (1, 20)
    done = shell("retry", "reviews", "--code", "context_overflow", "--set", "num_ctx=8192")

    assert asked == [f"Retry 19 failed jobs of batch {reviews} (b)?"] * 2
    assert (done.exit_code, done.stdout) == (0, f"batch {reviews} (b): 19 jobs asked again\n")
    assert len(store.claim(runner_key="qwen3:8b num_ctx=8192")) == 19


@pytest.mark.parametrize(
    ("command", "question"),
    [
        (["cancel", "@last"], "Cancel 9 jobs of batch 1 (b)?"),
        (["retry", "@last", "--state", "held"], "Retry 2 held jobs of batch 1 (b)?"),
        (["cancel", "--job", "@last:c30"], "Cancel 1 job?"),
    ],
)
def test_without_a_terminal_a_command_refuses_and_says_which_flag(
    store: Store, shell: Shell, reviews: int, command: list[str], question: str
) -> None:
    before = store.counts()

    run = shell(*command)

    assert run.exit_code == 1
    assert question in run.stderr
    assert "--yes" in run.stderr and "--dry-run" in run.stderr
    assert store.counts() == before and state(store, reviews) is BatchState.OPEN


def test_what_is_easily_taken_back_is_done_without_a_question(
    store: Store, shell: Shell, reviews: int
) -> None:
    assert shell("pause", "@last").stdout == f"batch {reviews} (b): 7 jobs paused\n"
    assert (
        shell("pause", "@last").stdout
        == f"batch {reviews} (b): paused, and none of its jobs waits to start\n"
    )
    assert state(store, reviews) is BatchState.PAUSED
    assert shell("edit", "@last", "--priority", "high").exit_code == 0
    assert shell("resume", "@last").exit_code == 0
    assert state(store, reviews) is BatchState.OPEN


@pytest.mark.parametrize("command", [("retry", "@last"), ("results",), ("delete", "@last", "--yes")])
def test_a_name_of_metadata_that_no_job_has_is_refused(
    store: Store, shell: Shell, command: tuple[str, ...]
) -> None:
    store.submit(new_job(1)._replace(metadata={"category": "x"}), key="reviews-1")

    run = shell(*command, "--where", "categoy=x")

    assert run.exit_code == 1
    assert "has metadata 'categoy'; did you mean 'category'?" in run.stderr
    assert shell(*command[:2], "--where", "category=y").exit_code == 0


def test_a_dry_run_says_how_many_and_changes_nothing(store: Store, shell: Shell, reviews: int) -> None:
    before = store.counts()

    told = shell("retry", "@last", "--dry-run").stdout
    plain = json.loads(shell("cancel", "@last", "--dry-run", "--json").stdout)

    assert told == f"would retry 20 failed jobs of batch {reviews} (b)\n"
    assert plain == {
        "action": "cancel",
        "batch": reviews,
        "jobs": 9,
        "running": 0,
        "remaining": 0,
        "dry_run": True,
    }
    assert store.counts() == before


def test_where_nothing_matches_it_says_so_and_that_is_no_error(shell: Shell, reviews: int) -> None:
    run = shell("retry", "@last", "--code", "cut")

    assert (run.exit_code, run.stdout) == (0, f"0 failed jobs of batch {reviews} (b)\n")


def test_a_command_waits_a_moment_and_says_what_follows(
    store: Store, shell: Shell, reviews: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.maintenance.operate.CHUNK", 2)
    monkeypatch.setattr("worker.cli.actions.MOMENT", 0.0)

    run = shell("retry", "@last", "--yes")
    plain = json.loads(shell("status", "@last", "--json").stdout)["operation"]
    again = shell("edit", "@last", "--priority", "high", "--yes")

    assert run.exit_code == 0 and f"16 more follow in the background (caravan status {reviews})" in run.stdout
    assert (plain["verb"], plain["done"], plain["total"], plain["error"]) == ("retry", 4, 20, None)
    assert plain["principal"]
    assert f"batch {reviews} (b): " in run.stdout and "retrying 4 of 20" in shell("status", "@last").stdout
    assert again.exit_code == 1 and "4 of 20" in again.stderr
    monkeypatch.setattr("worker.cli.actions.MOMENT", 60.0)
    assert "20 jobs asked again\n" in shell("retry", "@last", "--yes").stdout


def test_each_command_does_its_part_and_tells_a_script(store: Store, shell: Shell, reviews: int) -> None:
    def told(*arguments: str) -> tuple[str, int]:
        run = shell(*arguments, "--yes", "--json")
        assert run.exit_code == 0, run.stderr
        plain = json.loads(run.stdout)
        return plain["action"], plain["jobs"]

    assert told("pause", "@last") == ("pause", 7)
    assert state(store, reviews) is BatchState.PAUSED
    assert told("retry", str(reviews), "--state", "held") == ("retry", 2)
    assert told("resume", "@last") == ("resume", 9)
    assert told("edit", "@last", "--priority", "high") == ("edit", 9)
    assert told("retry", "--job", "@last:c1", "--job", "@last:c20") == ("retry", 2)
    assert told("cancel", "@last", "--state", "queued", "--model", "qwen3:8b") == ("cancel", 11)
    assert state(store, reviews) is BatchState.OPEN
    assert told("cancel", "@last") == ("cancel", 0)
    assert store.counts() == {JobState.FAILED: 18, JobState.SUCCEEDED: 1, JobState.CANCELLED: 11}


def test_a_retry_in_a_paused_batch_says_what_lets_it_run(shell: Shell, reviews: int) -> None:
    shell("pause", "@last", "--yes")

    run = shell("retry", "@last", "--yes")

    assert run.stdout.endswith(f"batch {reviews} is paused: caravan resume {reviews}\n")


@pytest.mark.parametrize(
    "command",
    [
        ["cancel"],
        ["cancel", "@last", "--job", "@last:c1"],
        ["retry", "@last", "--state", "running"],
        ["retry", "@last", "--set", "num_ctx=wide", "--yes"],
        ["edit", "@last"],
        ["edit", "@last", "--priority", "soon"],
    ],
)
def test_what_makes_no_sense_is_refused(store: Store, shell: Shell, reviews: int, command: list[str]) -> None:
    before = store.counts()

    run = shell(*command)

    assert run.exit_code == 2
    assert store.counts() == before


@pytest.mark.parametrize("job", ["7", "nothing", ":c1", "@last:c99", str(2**24 + 999), "zzz:c1"])
def test_a_job_that_is_not_there_is_named(shell: Shell, reviews: int, job: str) -> None:
    run = shell("cancel", "--job", job, "--yes")

    assert run.exit_code == 1
    assert run.stderr.startswith("caravan: no ") or "has no job" in run.stderr


def test_status_says_why_a_batch_is_paused_and_what_its_jobs_failed_with(store: Store, shell: Shell) -> None:
    batch = store.submit(*(new_job(seq) for seq in range(1, 31)))
    for job in store.claim(20):
        store.finish(job, Failed(Code.CONTEXT_OVERFLOW, "too\nlong"))
    [braked] = apply_brakes(store.database, [batch], clock=store.database.clock())

    text = shell("status", "@last").stdout
    plain = json.loads(shell("status", "@last", "--json").stdout)

    assert "[paused]" in text and f"  paused: {braked.reason}" in text
    assert "  20 failed with context_overflow: too long" in text
    assert (plain["pause_code"], plain["pause_reason"]) == ("same_failure", braked.reason)
    assert plain["failures"] == [{"code": "context_overflow", "jobs": 20, "message": "too\nlong"}]


def test_batches_are_listed_newest_first_with_why_they_are_paused(store: Store, shell: Shell) -> None:
    assert "no batches yet" in shell("status").stdout
    first, second = store.submit(new_job(1)), store.submit(new_job(1))
    shell("pause", str(first), "--yes")

    lines = shell("status").stdout.splitlines()
    plain = json.loads(shell("status", "--json", "--limit", "1").stdout)

    assert [line.split()[0] for line in lines] == ["batch", str(second), str(first)]
    assert "paused: by hand" in lines[2]
    assert [one["batch"] for one in plain] == [second]
    assert [one["batch"] for one in json.loads(shell("status", "--state", "paused", "--json").stdout)] == [
        first
    ]
    assert "no batches in that state" in shell("status", "--state", "refused").stdout


def test_nobody_waits_for_a_batch_that_was_refused(store: Store, shell: Shell) -> None:
    with store.database.write() as conn:
        batch, _ = create_batch(conn, key="k", name="bad", source=None, now=NOW)
        refuse_batch(conn, batch.id, [Problem(7, "prompt", "wrong_type", "expected a text")], now=NOW)

    assert shell("status", "bad").exit_code == shell("watch", "bad").exit_code == 2
    assert shell("results", "bad", "--follow").exit_code == 0


def test_the_list_of_batches_counts_answers_that_somebody_should_look_at(store: Store, shell: Shell) -> None:
    store.submit(new_job(1))
    assert "cut" not in shell("status").stdout
    flawed = store.submit(new_job(1), new_job(2))
    _, one, two = store.claim(3)
    store.finish(one, Succeeded(a_result(cut=True)))
    store.finish(two, Succeeded(a_result(answer="")))

    header, first, second = shell("status").stdout.splitlines()

    assert header.split() == [
        "batch",
        "name",
        "state",
        "jobs",
        "done",
        "failed",
        "held",
        "running",
        "cut",
        "empty",
        "created",
    ]
    assert (first.split()[0], first.split()[-4:-2], second.split()[-4:-2]) == (
        str(flawed),
        ["1", "1"],
        ["0", "0"],
    )


def test_a_batch_is_given_hours_and_loses_them_again(store: Store, shell: Shell, reviews: int) -> None:
    at = datetime.now(UTC)
    hours = f"{at + timedelta(hours=2):%H:%M}-{at + timedelta(hours=3):%H:%M}"

    given = shell("edit", "@last", "--window", hours, "--yes")

    assert given.exit_code == 0, given.output
    assert f"start in {hours} (UTC)" in given.stdout
    assert store.counts()[JobState.SCHEDULED] == 7
    assert "outside of its window" in shell("status", "@last").stdout

    taken = shell("edit", "@last", "--no-window", "--yes")

    assert "start at any time" in taken.stdout
    assert "outside of its window" not in shell("status", "@last").stdout


@pytest.mark.parametrize(
    "more",
    [["--window", "22:00"], ["--no-window", "--priority", "high"], ["--no-window", "--state", "queued"]],
)
def test_hours_of_what_has_none_are_refused(
    store: Store, shell: Shell, reviews: int, more: list[str]
) -> None:
    assert shell("edit", "@last", "--yes", *more).exit_code == 2


def test_a_batch_that_goes_on_counts_no_job_that_ran_on(store: Store, shell: Shell, reviews: int) -> None:
    store.claim(2)
    shell("pause", "@last")

    assert "5 jobs go on" in shell("resume", "@last").stdout


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            ("retry", "@last", "--code", "contxt_overflow"),
            "is not an error code; did you mean 'context_overflow'?",
        ),
        (("jobs", "@last", "--code", "nope"), "'nope' is not an error code"),
        (("retry", "@last", "--model", "qwen3:7b"), "has the model 'qwen3:7b'; did you mean 'qwen3:8b'?"),
        (("results", "@last", "--model", "nope"), "has the model 'nope:latest'; there are qwen3:8b"),
        (("delete", "@last", "--model", "nope"), "has the model 'nope:latest'"),
    ],
)
def test_a_code_or_a_model_that_no_job_can_have_is_refused(
    shell: Shell, reviews: int, typed: tuple[str, ...], said: str
) -> None:
    refused = shell(*typed)

    assert refused.exit_code != 0 and said in refused.stderr
