"""``python -m tests.mutants``: takes each predicate of the fence and of the tokens away once; the tests have to notice.

Every mutant is made in a copy of the tree. One that no test notices is printed, and the exit code is 1. ``--only TEXT``: those
whose name holds it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_STORAGE = "tests/integration/storage/"
_FENCE = (
    f"{_STORAGE}test_fence.py",
    f"{_STORAGE}test_queue.py",
    f"{_STORAGE}test_operations.py",
    f"{_STORAGE}test_batch_actions.py",
)
_LEASES = (f"{_STORAGE}test_fence.py", f"{_STORAGE}test_queue.py", f"{_STORAGE}test_races.py")
_HOSTS = (
    f"{_STORAGE}test_fence.py",
    f"{_STORAGE}test_hosts_and_runs.py",
    f"{_STORAGE}test_queue.py",
    "tests/integration/serving/test_lost_hosts.py",
)
_FIRINGS = ("tests/integration/schedules/test_firing_tokens.py",)


@dataclass(frozen=True)
class Mutant:
    """One predicate, and what the code is without it."""

    name: str
    file: str
    code: str
    """What stands in ``file``, exactly once."""
    without: str
    tests: tuple[str, ...]
    """Where it has to be noticed."""


MUTANTS = (
    Mutant(
        "fence: the attempt",
        "worker/storage/finishes.py",
        "    if row.attempt != finish.attempt:\n        return None\n",
        "",
        _FENCE,
    ),
    Mutant(
        "fence: the lease token",
        "worker/storage/finishes.py",
        "if row.lease_token == finish.token:",
        "if row.lease_token is not None:",
        _FENCE,
    ),
    Mutant(
        "fence: a cancelled batch",
        "worker/storage/finishes.py",
        "cancelled = stopped or row.cancel_requested_at is not None",
        "cancelled = row.cancel_requested_at is not None",
        _FENCE,
    ),
    Mutant(
        "fence: a cancelled job",
        "worker/storage/finishes.py",
        "cancelled = stopped or row.cancel_requested_at is not None",
        "cancelled = stopped",
        _FENCE,
    ),
    Mutant(
        "late answer: the batch goes on",
        "worker/storage/finishes.py",
        "        not stopped\n        and row.rescued_token",
        "        row.rescued_token",
        _FENCE,
    ),
    Mutant(
        "late answer: rescued from exactly this attempt",
        "worker/storage/finishes.py",
        "        and row.rescued_token == finish.token\n",
        "",
        _FENCE,
    ),
    Mutant(
        "late answer: an answer, not a failure",
        "worker/storage/finishes.py",
        "if late and isinstance(finish.outcome, Succeeded):",
        "if late:",
        _FENCE,
    ),
    Mutant(
        "two finishes of one job in a group",
        "worker/storage/finishes.py",
        "            del rows[finish.job_id]",
        "            pass",
        _FENCE,
    ),
    Mutant(
        "renewal: the lease token",
        "worker/storage/leases.py",
        "AND state = 'running' AND lease_token = :token ORDER BY id",
        "AND state = 'running' AND :token IS NOT NULL ORDER BY id",
        _LEASES,
    ),
    Mutant(
        "in a slot: the lease token",
        "worker/storage/leases.py",
        "WHERE id IN :ids AND lease_token = :token AND NOT asked",
        "WHERE id IN :ids AND :token IS NOT NULL AND NOT asked",
        _LEASES,
    ),
    Mutant(
        "cancel flags: the lease token",
        "worker/storage/leases.py",
        'jobs.c.state == "running", jobs.c.lease_token == token, jobs.c.cancel_requested_at.is_not(None)',
        'jobs.c.state == "running", jobs.c.cancel_requested_at.is_not(None)',
        _LEASES,
    ),
    Mutant(
        "release: the lease token",
        "worker/storage/leases.py",
        ".where(j.id.in_(ids), j.lease_token == token, j.state == JobState.RUNNING)",
        ".where(j.id.in_(ids), j.state == JobState.RUNNING)",
        _LEASES,
    ),
    Mutant(
        "strays: what is in somebody's hands stays",
        "worker/storage/leases.py",
        "{row[0] for row in rows} - set(keep)",
        "{row[0] for row in rows}",
        _LEASES,
    ),
    Mutant(
        "serving a host: taken while another has it",
        "worker/storage/leases.py",
        ".where(hosts.c.name == host, hosts.c.serving_token.is_(None) | (hosts.c.serving_until < now))",
        ".where(hosts.c.name == host)",
        _HOSTS,
    ),
    Mutant(
        "serving a host: renewed by another",
        "worker/storage/leases.py",
        ".where(hosts.c.name == host, hosts.c.serving_token == token)\n            .values(serving_until=until)",
        ".where(hosts.c.name == host)\n            .values(serving_until=until)",
        _HOSTS,
    ),
    Mutant(
        "serving a host: given back by another",
        "worker/storage/leases.py",
        ".where(hosts.c.name == host, hosts.c.serving_token == token)\n        .values(serving_token=None",
        ".where(hosts.c.name == host)\n        .values(serving_token=None",
        _HOSTS,
    ),
    Mutant(
        "serving a host: its state written by another",
        "worker/storage/hosts.py",
        "query = update(hosts).where(hosts.c.name == name, hosts.c.serving_token == token)",
        "query = update(hosts).where(hosts.c.name == name)",
        _HOSTS,
    ),
    Mutant(
        "a host that another cannot reach",
        "worker/storage/hosts.py",
        ".where(h.name == name, free if token is None else h.serving_token == token)",
        ".where(h.name == name)",
        _HOSTS,
    ),
    Mutant(
        "firing: taken while another has it",
        "worker/storage/firings.py",
        ".where(firings.c.id == firing_id, firings.c.state.in_(takeable), held_by_none)",
        ".where(firings.c.id == firing_id, firings.c.state.in_(takeable))",
        _FIRINGS,
    ),
    Mutant(
        "firing: written by another",
        "worker/storage/firings.py",
        "return and_(firings.c.id == firing_id, firings.c.token == token)",
        "return and_(firings.c.id == firing_id)",
        _FIRINGS,
    ),
)


def mutated(mutant: Mutant, folder: Path) -> None:
    """Make the mutant in the tree at ``folder``. Raises ValueError where the code is not there once."""
    path = folder / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.code) != 1:
        raise ValueError(f"{mutant.name}: {mutant.file} holds its code {text.count(mutant.code)} times")
    path.write_text(text.replace(mutant.code, mutant.without), encoding="utf-8")


def survives(mutant: Mutant) -> bool:
    """Whether all its tests pass although the predicate is gone."""
    with tempfile.TemporaryDirectory(prefix="caravan-mutant-") as name:
        folder = Path(name)
        ignored = shutil.ignore_patterns(".*", "__pycache__")
        for part in (
            "worker",
            "api_schemas",
            "simulator",
            "caravan",
            "migrations",
            "tests",
            "docs",
            "examples",
        ):
            shutil.copytree(ROOT / part, folder / part, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", folder)
        mutated(mutant, folder)
        # -P: the packages of this checkout must not come before those of the copy
        command = [
            sys.executable,
            "-P",
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "-n",
            "2",
            *mutant.tests,
        ]
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        passed = done.returncode == 0
        print(f"{mutant.name}: {'SURVIVES' if passed else 'noticed'}", flush=True)
        return passed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT")
    only = parser.parse_args().only
    surviving = [mutant.name for mutant in MUTANTS if only in mutant.name and survives(mutant)]
    return int(bool(surviving))


if __name__ == "__main__":
    sys.exit(main())
