"""``import caravan``: what it costs, and a file of the user's called as a package of ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo.docs.pages import ROOT

SCRIPT = "from caravan import Caravan; print(Caravan.__module__)"


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Python in ``cwd``, which is where it looks first, with Caravan to be found after it."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )


def test_importing_the_package_alone_imports_nothing_heavy(tmp_path: Path) -> None:
    script = "import sys, caravan; print({'sqlalchemy', 'pandas', 'celery', 'worker', 'pydantic'} & {*sys.modules})"

    done = python("-c", script, cwd=tmp_path)

    assert done.stdout.strip() == "set()", done.stderr


def test_the_client_imports_neither_pandas_nor_celery(tmp_path: Path) -> None:
    script = (
        "import sys; from caravan import Caravan; print({'pandas', 'celery', 'alembic'} & {*sys.modules})"
    )

    done = python("-c", script, cwd=tmp_path)

    assert done.stdout.strip() == "set()", done.stderr


def test_every_name_of_the_package_is_there() -> None:
    import caravan

    assert all(getattr(caravan, name).__name__ == name for name in caravan.__all__)
    assert set(caravan.__all__) <= set(dir(caravan))
    with pytest.raises(AttributeError, match="no attribute 'Karawane'"):
        caravan.Karawane  # noqa: B018


@pytest.mark.parametrize("mine", ["worker.py", "worker/__init__.py", "api_schemas.py"])
def test_a_file_of_the_users_that_is_in_the_way_is_named(tmp_path: Path, mine: str) -> None:
    (tmp_path / mine).parent.mkdir(exist_ok=True)
    (tmp_path / mine).write_text("print('mine')\n")

    done = python("-c", SCRIPT, cwd=tmp_path)

    assert done.returncode == 1
    told = f"Python finds {tmp_path / mine} first; rename that file, or start Python in another folder"
    assert told in done.stderr
    assert "mine\n" not in done.stdout


def test_a_script_called_worker_is_told_so_itself(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(SCRIPT)

    done = python("worker.py", cwd=tmp_path)

    assert f"Python finds {tmp_path / 'worker.py'} first" in done.stderr


def test_a_folder_that_is_no_package_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "worker").mkdir()

    assert python("-c", SCRIPT, cwd=tmp_path).stdout.strip() == "worker.stack.local"


def test_nothing_is_in_the_way_where_python_does_not_look_into_the_folder(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text("print('mine')\n")

    assert python("-P", "-c", SCRIPT, cwd=tmp_path).stdout.strip() == "worker.stack.local"


def test_the_command_is_not_disturbed_by_a_file_called_worker(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text("print('mine')\n")
    script = Path(sys.executable).with_name("caravan")
    if not script.exists():
        pytest.skip("the command is not installed here")

    done = subprocess.run([script, "--version"], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert "mine" not in done.stdout
