"""The tutorial is true: its files are made, its commands run in one shell, and what they print is what it shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import simulator
from tests.repo.docs.pages import DOCS, blocks
from tests.servers.proxy import proxying

PAGE = DOCS / "tutorials/first_day.md"
MARK = "@@@@"
Output = tuple[str, list[str]]


def steps() -> list[Output]:
    """Each command and the lines that are shown under it, the first block (which starts hosts) apart."""
    found: list[Output] = []
    for block in list(blocks(PAGE, "console"))[1:]:
        for line in block.text.splitlines():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            else:
                found[-1][1].append(line)
    return found


def differs(shown: list[str], printed: list[str]) -> str | None:
    """Where what was printed is not what is shown: a line that is ``…`` stands for any lines, within a line for text.

    Blank lines do not count.
    """
    shown, printed = ([line for line in lines if line.strip()] for lines in (shown, printed))
    at, anything = 0, False
    for line in shown:
        if line == "…":
            anything = True
            continue
        pattern = re.compile(re.escape(line.rstrip()).replace("…", ".*"))
        while True:
            if at == len(printed):
                return f"never printed: {line!r}"
            fits = pattern.fullmatch(printed[at].rstrip()) is not None
            at += 1
            if fits:
                break
            if not anything:
                return f"shown {line!r}, printed {printed[at - 1]!r}"
        anything = False
    return None if anything or at == len(printed) else f"not shown: {printed[at]!r}"


def test_a_line_that_is_not_as_shown_is_found() -> None:
    assert differs(["a …", "…", "z"], ["a 1", "x", "y", "z"]) is None
    assert differs(["a"], ["b"]) == "shown 'a', printed 'b'"
    assert differs(["a"], ["a", "b"]) == "not shown: 'b'"
    assert differs(["…", "z"], ["a"]) == "never printed: 'z'"


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_the_tutorial_prints_what_it_shows(tmp_path: Path) -> None:
    [made] = blocks(PAGE, "python")
    subprocess.run([sys.executable, "-c", made.text], cwd=tmp_path, check=True)
    settings = [
        simulator.HostSettings(
            name=name, models=simulator.demo_models(), max_loaded_models=1, num_parallel=2, time_scale=0.0
        )
        for name in ("gpu-1", "gpu-2", "gpu-3")
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CARAVAN_")}
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "caravan").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m worker "$@"\n')
    (tools / "caravan").chmod(0o755)
    environment = {
        **kept,
        "CARAVAN_HOME": str(tmp_path / "home"),
        "PATH": f"{tools}:{Path(sys.executable).parent}:{kept['PATH']}",
        "PYTHONPATH": str(DOCS.parent),
        "COLUMNS": "160",
    }
    with (
        simulator.running(*settings) as hosts,
        proxying(
            hosts[2].url,
            cert_dir=tmp_path / "ca",
            user="me:secret",
            prefix="/ollama",
        ) as proxy,
    ):
        ports = {str(11500 + n): host.url.rpartition(":")[2] for n, host in enumerate(hosts, start=1)}
        ports["11543"] = str(proxy.port)
        script = "\n".join(f"echo; echo '{MARK}'; {command}" for command, _ in steps())
        for written, real in ports.items():
            script = script.replace(f":{written}", f":{real}")
        done = subprocess.run(
            ["bash", "-c", f"exec 2>&1\n{script}"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=880,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        joined = int(hosts[2].state()["completed"])

    output = done.stdout
    for written, real in ports.items():
        output = output.replace(f":{real}", f":{written}")
    printed = output.split(f"\n{MARK}\n")[1:]
    assert len(printed) == len(steps()), output[-2000:]
    wrong = {
        command: (why, text)
        for (command, shown), text in zip(steps(), printed, strict=True)
        if (why := differs(shown, text.splitlines())) is not None
    }
    assert not wrong, wrong
    assert joined > 0
