"""The core knows nothing of the features: without them it still works."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FEATURES = ("schedules", "search", "reports", "notify")
NOT_OURS = shutil.ignore_patterns(".*", "__pycache__")
CORE_TESTS = (
    "tests/unit/policy",
    "tests/unit/replies",
    "tests/unit/domain",
    "tests/unit/ollama",
    "tests/integration/maintenance",
    "tests/integration/serving",
    "tests/integration/intake",
    "tests/integration/ollama",
)


@pytest.fixture
def core(tmp_path: Path) -> Path:
    """The tree without the features."""
    folder = tmp_path / "core"
    for name in ("worker", "api_schemas", "simulator", "caravan", "migrations", "tests", "docs", "examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=NOT_OURS)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name in FEATURES:
        shutil.rmtree(folder / "worker" / name)
    return folder


def pytest_in(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    # -P: the packages of this checkout, from which the tests run, must not come first
    return subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *arguments],
        cwd=folder,
        env={**environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_tests_of_the_core_import_no_feature(core: Path) -> None:
    done = pytest_in(core, "--collect-only", *CORE_TESTS)

    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.thorough
@pytest.mark.timeout(1200)
def test_the_tests_of_the_core_pass_without_features(core: Path) -> None:
    done = pytest_in(core, "-k", "not postgres", *CORE_TESTS)

    assert done.returncode == 0, done.stdout[-6000:]
