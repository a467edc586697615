"""Finished text waits on disk while the database is away."""

from datetime import UTC, datetime
from pathlib import Path

from worker.domain.attempts import Cancelled, Failed, Finish, Held, Outcome, Retried, Succeeded
from worker.domain.replies import Result
from worker.errors import Code
from worker.services.spool import Spool

NOW = datetime(2026, 11, 23, tzinfo=UTC)

RESULT = Result(
    answer="天空\u2028is blue",
    reasoning=None,
    reasoning_open=False,
    done_reason="stop",
    cut=False,
    prompt_fit="yes",
    prompt_tokens=3,
    output_tokens=4,
    tokens_per_second=2.0,
    prompt_tokens_per_second=None,
    total_seconds=2.0,
    load_seconds=0.0,
    prompt_eval_seconds=0.0,
    eval_seconds=2.0,
    total_duration=2,
    load_duration=0,
    prompt_eval_duration=0,
    eval_duration=2,
    context=(1, 2, 3),
)


def finish(job_id: int, outcome: Outcome) -> Finish:
    return Finish(job_id, 1, "token", 2, "gpu-1", NOW, NOW, outcome, digest="d", run_id=7)


ALL = [
    finish(1, Succeeded(RESULT)),
    finish(2, Failed(Code.CUT, "cut", result=RESULT)),
    finish(3, Retried(Code.HOST_BUSY, "busy", NOW, charged=False)),
    finish(4, Held(Code.RUNNER_DIED, "suspect")),
    finish(5, Cancelled(partial="so far")),
]


def test_every_outcome_comes_back_as_it_went_in(tmp_path: Path) -> None:
    Spool(tmp_path / "spool" / "gpu-1.jsonl").write(ALL)

    assert Spool(tmp_path / "spool" / "gpu-1.jsonl").read() == ALL


def test_what_is_there_already_is_not_written_twice(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "gpu-1.jsonl")

    assert [spool.write(ALL[:2]), spool.write(ALL)] == [2, 3]
    assert spool.read() == ALL


def test_a_line_cut_by_a_crash_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "gpu-1.jsonl"
    Spool(path).write(ALL[:2])
    path.write_bytes(path.read_bytes()[:-20])

    assert Spool(path).read() == ALL[:1]


def test_an_emptied_spool_leaves_no_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "gpu-1.jsonl")
    spool.write(ALL)

    spool.clear()

    assert spool.read() == []
    assert list(tmp_path.iterdir()) == []
