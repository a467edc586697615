"""A command of a process that forks is as one that Python starts for itself."""

import os
from pathlib import Path

from tests.acceptance import warm
from tests.acceptance.conftest import caravan

Environment = dict[str, str]


def test_it_has_its_own_environment_folder_and_exit_code(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "jobs.jsonl").write_text('{"prompt": "x", "model": "m:1"}\n')

    caravan("submit", "jobs.jsonl", env=environment, cwd=tmp_path)
    wrong = caravan("nosuch", env={**environment, "CARAVAN_HOME": "/dev/null"}, check=False)

    assert warm.fits(environment)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "there is no command 'nosuch'" in wrong.stderr
    assert (tmp_path / "home" / "caravan.db").exists()
    assert "CARAVAN_LEASE_SECONDS" not in os.environ


def test_what_python_reads_as_it_starts_is_left_to_a_process_of_its_own(environment: Environment) -> None:
    assert not warm.fits({**environment, "PYTHONUTF8": "0"})
    assert not warm.fits({**environment, "LC_ALL": "C.ISO-8859-1"})
    assert not warm.fits({name: value for name, value in environment.items() if name != "PATH"})
