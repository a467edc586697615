"""Finished text waits on disk while the database is away."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from worker.domain.attempts import Cancelled, Failed, Finish, Held, Outcome, Retried, Succeeded
from worker.domain.replies import Result
from worker.errors import Code
from worker.serving.spool import Spool

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
    tool_calls=({"id": "call_1", "function": {"name": "get_weather", "arguments": {"city": "Porto"}}},),
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


def test_a_character_cut_by_a_crash_is_left_out_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "gpu-1.jsonl"
    Spool(path).write(ALL[:2])
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex("空".encode()) + 1])

    assert Spool(path).read() == ALL[:1]


def test_what_is_written_after_a_torn_line_is_not_lost_with_it(tmp_path: Path) -> None:
    path = tmp_path / "gpu-1.jsonl"
    Spool(path).write(ALL[:2])
    path.write_bytes(path.read_bytes()[:-20])
    after = Spool(path)
    after.read()

    after.write(ALL[2:])

    assert Spool(path).read() == [ALL[0], *ALL[2:]]


def test_what_another_process_wrote_meanwhile_is_not_removed_with_ours(tmp_path: Path) -> None:
    path = tmp_path / "gpu-1.jsonl"
    Spool(path).write(ALL[:2])
    sweeping = Spool(path)
    sweeping.read()
    Spool(path).write(ALL[2:])

    sweeping.clear()

    assert Spool(path).read() == ALL


def test_an_emptied_spool_leaves_no_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "gpu-1.jsonl")
    spool.write(ALL)

    spool.clear()

    assert spool.read() == []
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_amid_a_line_costs_none_once_it_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gpu-1.jsonl"
    spool = Spool(path)
    spool.write(ALL[:1])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            spool.write(ALL[1:3])
    path.write_bytes(path.read_bytes()[:-20])

    assert spool.write(ALL) == 4
    assert {finish.job_id for finish in Spool(path).read()} == {1, 2, 3, 4, 5}


def test_a_spool_is_filled_and_emptied_again_and_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "gpu-1.jsonl")
    for finishes in (ALL[:2], ALL[2:], ALL):
        assert spool.write(finishes) == len(finishes)
        assert spool.read() == finishes
        spool.clear()
        assert list(tmp_path.iterdir()) == []
