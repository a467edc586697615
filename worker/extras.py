"""Optional packages: which extra of the distribution brings each, and the message where one is missing.

The base install runs batches on one machine with SQLite. Everything else is an extra of ``pyproject.toml``, imported where
it is used. Code calls ``require`` before such an import, so that a missing package is one sentence and never a traceback.
"""

import sys
from collections.abc import Mapping
from importlib.util import find_spec

from worker.errors import ExtraMissing

DISTRIBUTION = "caravan-ollama"
"""The name on the package index. ``caravan`` there is a package of other people."""

EXTRAS: Mapping[str, Mapping[str, str]] = {
    "documents": {
        "PIL": "pillow",
        "kreuzberg": "kreuzberg",
        "pypdfium2": "pypdfium2",
        "python_calamine": "python-calamine",
        "selectolax": "selectolax",
        "webencodings": "webencodings",
    },
    "duckdb": {"duckdb": "duckdb", "pyarrow": "pyarrow"},
    "fleet": {"celery": "celery", "kombu": "kombu", "psycopg": "psycopg", "redis": "redis"},
    "parquet": {"pyarrow": "pyarrow"},
    "s3": {"fsspec": "fsspec", "s3fs": "s3fs"},
    "spreadsheets": {"python_calamine": "python-calamine", "xlsxwriter": "xlsxwriter"},
}
"""Extra → the modules it brings, and the distribution of each. A test compares it with ``pyproject.toml``."""

OPTIONAL_PACKAGES: Mapping[str, Mapping[str, str]] = {
    "numpy": {"numpy": "numpy"},
    "pandas": {"pandas": "pandas"},
}
"""Packages that no extra brings: people have the version that their own code needs."""


def require(extra: str, purpose: str, *modules: str) -> None:
    """Check that ``modules`` of ``extra`` (default: all of them) are installed; nothing is imported.

    ``purpose`` begins the message: "out.parquet: writing Parquet". Raises ExtraMissing.
    """
    missing = missing_from(extra, *modules)
    if missing:
        raise ExtraMissing(extra, f"{purpose} needs {listed(missing)}. {advice(extra)}")


def missing_from(extra: str, *modules: str) -> list[str]:
    """The distributions of ``extra`` that are not installed; of ``modules`` only, where any are named."""
    brought = OPTIONAL_PACKAGES[extra] if extra in OPTIONAL_PACKAGES else EXTRAS[extra]
    return [brought[module] for module in modules or brought if not _installed(module)]


def advice(extra: str) -> str:
    """The sentence with the command that installs ``extra``.

    >>> advice("parquet")
    "Install it with: pip install 'caravan-ollama[parquet]'"
    """
    if extra in OPTIONAL_PACKAGES:
        return f"Install it with: pip install {extra}"
    return f"Install it with: pip install '{DISTRIBUTION}[{extra}]'"


def listed(packages: list[str]) -> str:
    """
    >>> listed(["celery"]), listed(["celery", "kombu", "redis"])
    ('the package celery, which is not installed', 'the packages celery, kombu and redis, which are not installed')
    """
    if len(packages) == 1:
        return f"the package {packages[0]}, which is not installed"
    return f"the packages {', '.join(packages[:-1])} and {packages[-1]}, which are not installed"


def _installed(module: str) -> bool:
    if module in sys.modules:  # kombu puts a module without a spec in its own place, which find_spec refuses
        return sys.modules[module] is not None
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a module that something else made by hand
        return False
