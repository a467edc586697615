import sys
from pathlib import Path

import pytest

from tests.waiting import wait_until
from worker.notify import command
from worker.notify.bounded import DeliveryError
from worker.notify.command import run_command


def test_a_command_gets_the_message_on_its_input_and_what_it_is_about_in_its_environment(
    tmp_path: Path,
) -> None:
    run_command(f'cat > {tmp_path}/got; echo "$ABOUT" >> {tmp_path}/got', b"said ", about={"ABOUT": "this"})

    assert (tmp_path / "got").read_text() == "said this\n"


def test_a_command_that_fails_says_how() -> None:
    with pytest.raises(DeliveryError, match="ended with 3: no such door"):
        run_command("echo no such door; exit 3", b"{}", about={})


def test_a_command_that_reads_nothing_is_no_failure() -> None:
    run_command("exec <&-; exit 0", b"x" * 1_000_000, about={})


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_a_command_that_does_not_end_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    monkeypatch.setattr(command, "SECONDS", 0.5)
    with pytest.raises(DeliveryError, match="did not end"):
        run_command(f"sh -c 'echo $$ > {tmp_path}/pid; exec sleep 60'; true", b"", about={})

    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not psutil.pid_exists(pid), description="what it started is gone")


@pytest.mark.skipif(sys.platform == "win32", reason="resource")
def test_a_command_that_prints_without_end_takes_no_memory_and_its_last_words_are_kept() -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DeliveryError, match=r"ended with 3: .*last words"):
        run_command("head -c 200000000 /dev/zero | tr '\\0' x; echo; echo last words; exit 3", b"", about={})

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "kB"
