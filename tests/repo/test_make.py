"""What a newcomer types at the Makefile, and what every change runs."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MACHINE = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
"""The environment of these runs: what the make that runs the tests was told is not for them."""


def _makefile() -> str:
    return (ROOT / "Makefile").read_text(encoding="utf-8")


def _make(*arguments: str) -> str:
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env=MACHINE,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_make_without_a_target_explains_every_target() -> None:
    named = set(re.findall(r"^\.PHONY: (.*)$", _makefile(), flags=re.MULTILINE)[0].split())

    shown = {line.split()[1] for line in _make().splitlines()}

    assert shown == named


def test_what_runs_at_every_change_can_be_run_and_makes_targets_that_exist() -> None:
    script = ROOT / ".ci" / "run"
    targets = set(re.findall(r"^([\w-]+):(?!=)", _makefile(), flags=re.MULTILINE))

    made = set(re.findall(r"^make ([\w-]+)", script.read_text(encoding="utf-8"), flags=re.MULTILINE))

    assert script.stat().st_mode & 0o111, "not executable"
    assert made
    assert made <= targets


def test_the_python_that_is_named_makes_the_environment(tmp_path: Path) -> None:
    (tmp_path / "python9").touch()

    plan = _make("--dry-run", "--always-make", "venv", f"PYTHON={tmp_path / 'python9'}")

    assert f"{tmp_path / 'python9'} -m venv .venv" in plan


def test_a_machine_without_a_python_that_will_do_is_told_so(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "uv.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())

    done = subprocess.run(
        ["make", "venv", "PYTHON="], cwd=tmp_path, env=MACHINE, capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr


def test_an_environment_whose_python_is_gone_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(_makefile(), encoding="utf-8")
    for name in ("pyproject.toml", "uv.lock", ".venv/bin/uv", ".venv/.installed"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".venv/bin/python").symlink_to(tmp_path / "was-updated-away")

    done = subprocess.run(
        ["make", "--dry-run", "demo"], cwd=tmp_path, env=MACHINE, capture_output=True, text=True, check=True
    )

    assert "-m venv .venv --clear" in done.stdout


def test_a_python_that_only_prints_an_error_is_passed_over(tmp_path: Path) -> None:
    shims = tmp_path / "shims"
    shims.mkdir()
    _program(shims / "python3", "echo 'not installed' >&2; exit 127")
    _program(shims / "python3.13", "exit 0")

    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "venv"],
        cwd=ROOT,
        env={"PATH": f"{shims}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "python3.13 -m venv .venv" in done.stdout


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
