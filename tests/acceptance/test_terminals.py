"""Commands on a real terminal, narrow and wide: no line beyond its width, no traceback."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.cells import cell_len

import simulator
from tests.acceptance.conftest import MODELS, caravan, write_jobs
from tests.processes import CARAVAN
from tests.unit.cli.test_display import Screen

Environment = dict[str, str]
Hosts = tuple[simulator.RunningHost, ...]

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-_])")
SECONDS = 120


def on_terminal(
    arguments: Sequence[str],
    environment: Environment,
    columns: int,
    *,
    until: str = "",
    then: Callable[[], object] | None = None,
) -> tuple[int, str]:
    """Run a command on a terminal of this width; its exit code, and all that it wrote there. Once ``until`` was written
    it is interrupted, or ``then`` is called."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    without = {
        name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")
    }
    process = subprocess.Popen(
        [*CARAVAN, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**without, "TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(theirs)
    written = b""
    try:
        while select.select([ours], [], [], SECONDS)[0]:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            written += piece
            if until and until.encode() in written:
                until = ""
                if then is None:
                    process.send_signal(signal.SIGINT)
                else:
                    then()
    finally:
        os.close(ours)
        if process.poll() is None:
            process.wait(timeout=SECONDS)
    return process.returncode, written.decode("utf-8")


def on_both(environment: Environment, case: Callable[[int, Environment], None]) -> None:
    """Try a case on a terminal of 80 columns and on one of 120 at once, each in a home of its own."""
    with ThreadPoolExecutor() as pool:
        homes = [(80, environment["CARAVAN_HOME"]), (120, f"{environment['CARAVAN_HOME']}-wide")]
        for tried in [
            pool.submit(case, columns, {**environment, "CARAVAN_HOME": home}) for columns, home in homes
        ]:
            tried.result()


def too_wide(written: str, columns: int) -> list[str]:
    """The lines that do not fit, control sequences left out."""
    lines = re.split(r"[\r\n]+", _ESCAPE.sub("", written))
    return [line for line in lines if cell_len(line.rstrip()) > columns]


@pytest.mark.parametrize("columns", [80, pytest.param(120, marks=pytest.mark.thorough)])
def test_what_is_shown_on_a_terminal_fits_it(
    environment: Environment, hosts: Hosts, tmp_path: Path, columns: int
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 40, metadata={"of": "东京" * 40})
    name = "a name of a batch that goes on for longer than anybody would read, 名前 " * 2
    run = ["run", str(file), "--name", name, *(word for host in hosts for word in ("--host", host.url))]
    code, written = on_terminal(run, environment, columns)
    assert code == 0, written
    assert "Traceback" not in written
    assert left_on_screen(written, columns, "ETA") == [], "nothing of the display is left"

    for command in TABLES:
        code, written = on_terminal(command, environment, columns)
        assert code == 0, written
        assert "Traceback" not in written
        assert too_wide(written, columns) == [], command


def left_on_screen(written: str, columns: int, word: str) -> list[str]:
    """The rows with this word that a terminal shows when the command has ended."""
    screen = Screen(columns)
    screen.write(written)
    return [row for row in screen.rows if word in row]


def test_hosts_that_fail_and_die_break_no_line_of_the_display(
    environment: Environment, tmp_path: Path
) -> None:
    """One host refuses connections, the answers of the other are cut, which is a failure here. The batch pauses by itself."""
    file = write_jobs(tmp_path / "jobs.jsonl", 30, options={"num_predict": 3})
    settings = simulator.HostSettings(name="gpu-1", models=simulator.demo_models(), time_scale=0.02)

    def case(columns: int, env: Environment) -> None:
        hosts = ["--host", host.url, "--host", "http://127.0.0.1:9"]
        code, written = on_terminal(["run", str(file), *hosts, "--fail-on-cut"], env, columns)
        watched, pictures = on_terminal(["watch", "@last"], env, columns, until="is paused")
        listed, lines = on_terminal(["status"], env, columns)

        screen = Screen(columns)
        screen.write(written)
        assert (code, watched, listed) == (3, 130, 0), written + pictures
        assert left_on_screen(written, columns, "ETA") == []
        assert "caravan jobs" in "\n".join(screen.rows), "it says which command shows the failures"
        away = "caravan: 127.0.0.1:9 cannot be reached: connection refused"
        assert len(left_on_screen(written, columns, away)) == 1, "equal ones once"
        assert left_on_screen(written, columns, "caravan: batch 1 paused by itself")
        assert len(left_on_screen(pictures, columns, "of 30 done")) == 1, (
            "one picture, and no stale copy of it"
        )
        assert left_on_screen(lines, columns, "paused")
        for text in (written, pictures, lines):
            assert "Traceback" not in text
            assert "WARNING" not in text, "a person reads sentences"
        assert too_wide(pictures, columns) == too_wide(lines, columns) == []

    with simulator.running(settings) as (host,):
        on_both(environment, case)


def test_a_run_on_a_slow_and_a_dying_host_is_whole_on_every_screen(
    environment: Environment, tmp_path: Path
) -> None:
    """One host drips its answers and refuses one job, the other dies; watch and status look at it meanwhile."""
    file = write_jobs(tmp_path / "jobs.jsonl", 12)
    slow = simulator.Fault("drip", times=0, seconds=0.002)
    refuses = simulator.Fault("error", nth=3, status=400, text="an option that nobody knows " * 8)
    dies = simulator.Fault("crash", nth=2, after_chunks=2)
    models = simulator.demo_models()

    def case(columns: int, env: Environment) -> None:
        drawn = threading.Event()
        hosts = [
            simulator.HostSettings("slow", models, time_scale=0.02, faults=(refuses, slow)),
            simulator.HostSettings("dying", models, time_scale=0.02, faults=(dies,)),
        ]
        with simulator.running(*hosts) as running, ThreadPoolExecutor() as pool:
            command = ["run", str(file), *(word for host in running for word in ("--host", host.url))]
            run = pool.submit(on_terminal, command, env, columns, until="ETA", then=drawn.set)
            assert drawn.wait(SECONDS)
            looks = [on_terminal(words, env, columns) for words in (["watch", "@last"], ["status"])]
            code, written = run.result()

        assert (code, [look[0] for look in looks]) == (3, [3, 0]), written
        assert left_on_screen(written, columns, "ETA") == []
        dead = f"caravan: {running[1].url.removeprefix('http://')} cannot be reached"
        assert len(left_on_screen(written, columns, dead)) == 1, "equal ones once"
        for text in (written, *(look[1] for look in looks)):
            assert "Traceback" not in text
            assert "WARNING" not in text
        for _, text in looks:
            assert too_wide(text, columns) == []
        assert len(left_on_screen(looks[0][1], columns, "of 12 done")) == 1, (
            "one picture, and no stale copy of it"
        )

    on_both(environment, case)


def test_a_watch_of_hosts_that_are_away_breaks_no_line_and_ends_with_ctrl_c(
    environment: Environment, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 30)
    name = "a-host-with-a-name-that-takes-more-room-than-a-column-has"
    caravan("hosts", "add", name, "http://127.0.0.1:9", env=environment, check=False)
    caravan("submit", str(file), "--name", "名前 " * 40, env=environment)

    def case(columns: int, _: Environment) -> None:
        code, written = on_terminal(["watch", "@last"], environment, columns, until="of 30 done")

        assert code == 130, written
        assert "Traceback" not in written
        assert too_wide(written, columns) == []
        assert len(left_on_screen(written, columns, "of 30 done")) == 1, (
            "one picture, and no stale copy of it"
        )

    on_both(environment, case)


def test_an_answer_of_a_host_that_dies_in_the_middle_is_said_in_whole_lines(environment: Environment) -> None:
    faults = (simulator.Fault("crash", after_chunks=5),)

    def case(columns: int, env: Environment) -> None:
        settings = simulator.HostSettings("gpu-1", simulator.demo_models(), time_scale=0.02, faults=faults)
        with simulator.running(settings) as (host,):
            ask = ["ask", "Why is the sky blue? " * 9, "--model", MODELS[0], "--host", host.url]
            code, written = on_terminal(ask, env, columns, until="waiting: ")

        assert code == 130, written
        assert "Traceback" not in written
        assert left_on_screen(written, columns, "WARNING") == [], "it is said in words, not logged"
        assert left_on_screen(written, columns, "cannot be reached") != []

    on_both(environment, case)


@pytest.mark.parametrize(
    ("fault", "ends", "says"),
    [
        (
            simulator.Fault("error", times=0, status=400, text="no such option " * 12),
            3,
            "caravan: no such option",
        ),
        (simulator.Fault("drip", times=0, seconds=0.005), 0, ""),
    ],
    ids=["failing", "slow"],
)
def test_an_answer_of_a_host_that_fails_or_is_slow_ends_in_whole_lines(
    environment: Environment, fault: simulator.Fault, ends: int, says: str
) -> None:
    settings = simulator.HostSettings("gpu-1", simulator.demo_models(), time_scale=0.02, faults=(fault,))

    def case(columns: int, env: Environment) -> None:
        ask = ["ask", "Why?", "--model", MODELS[0], "--host", host.url]
        code, written = on_terminal(ask, env, columns)

        assert code == ends, written
        assert "Traceback" not in written
        assert "WARNING" not in written
        assert left_on_screen(written, columns, says) != []

    with simulator.running(settings) as (host,):
        on_both(environment, case)


def test_ctrl_c_in_the_middle_of_an_answer_drops_the_question_and_frees_the_host(
    environment: Environment,
) -> None:
    settings = simulator.HostSettings(
        "gpu-1", (simulator.SimulatedModel("a:1", load_seconds=0.0),), time_scale=2
    )
    with simulator.running(settings) as (host,):
        code, written = on_terminal(["ask", "Why?", "--host", host.url], environment, 80, until=" ")
        state = host.state()

    jobs = caravan("jobs", "@last", "--json", env=environment).stdout
    assert (code, left_on_screen(written, 80, "interrupted")) == (130, ["interrupted"])
    assert (state["disconnects"], state["completed"]) == (1, 0)
    assert '"cancelled"' in jobs


TABLES = (
    ["status"],
    ["jobs", "@last"],
    ["hosts", "list"],
    ["hosts", "ps"],
    ["models"],
    ["report", "@last"],
    ["--help"],
)


def test_a_demo_on_a_terminal_shows_its_progress_and_ends_well(environment: Environment) -> None:
    code, written = on_terminal(["demo"], environment, 80)

    assert code == 0, written
    assert "\x1b[" in written, "a terminal gets colour and a bar that moves"
    assert "Traceback" not in written


def test_a_line_that_does_not_fit_is_noticed() -> None:
    assert too_wide("\x1b[31m" + "x" * 80 + "\x1b[0m\r\n", 80) == []
    assert too_wide("x" * 81, 80) == ["x" * 81]
    assert too_wide("东" * 41, 80) == ["东" * 41]


def test_a_terminal_that_calls_itself_dumb_gets_plain_text(environment: Environment) -> None:
    done = caravan("status", env={**environment, "TERM": "dumb", "NO_COLOR": "1"}, check=False)

    assert "\x1b" not in done.stdout + done.stderr
