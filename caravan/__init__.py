"""The Python API of Caravan: ``from caravan import Caravan``.

Nothing is imported before it is asked for, so ``import caravan`` costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.client import BatchHandle
    from worker.domain.batches import BatchProgress, BatchState
    from worker.domain.jobs import JobState
    from worker.errors import (
        AlreadyRunning,
        CaravanError,
        Conflict,
        DatabaseContended,
        DatabaseFailure,
        DatabaseRefused,
        DatabaseUnavailable,
        ExtraMissing,
        InputRefused,
        NoHost,
        NotFound,
        Problem,
        SchemaOutdated,
        SettingsRefused,
    )
    from worker.stack.local import Caravan

__all__ = [
    "AlreadyRunning",
    "BatchHandle",
    "BatchProgress",
    "BatchState",
    "Caravan",
    "CaravanError",
    "Conflict",
    "DatabaseContended",
    "DatabaseFailure",
    "DatabaseRefused",
    "DatabaseUnavailable",
    "ExtraMissing",
    "InputRefused",
    "JobState",
    "NoHost",
    "NotFound",
    "Problem",
    "SchemaOutdated",
    "SettingsRefused",
]

_WHERE = {
    "BatchHandle": "worker.client",
    "BatchProgress": "worker.domain.batches",
    "BatchState": "worker.domain.batches",
    "Caravan": "worker.stack.local",
    "JobState": "worker.domain.jobs",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'caravan' has no attribute {name!r}")
    from importlib import import_module

    for package in ("worker", "api_schemas"):
        _see_that_it_is_ours(package)
    found = globals()[name] = getattr(import_module(_WHERE.get(name, "worker.errors")), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _see_that_it_is_ours(package: str) -> None:
    """Caravan's code lies beside this package; a user's own file of that name may stand before it on the path."""
    from importlib.util import find_spec
    from pathlib import Path

    try:
        spec = find_spec(package)
    except ValueError:  # a module that something made by hand
        spec = None
    ours = Path(__file__).resolve().parents[1] / package / "__init__.py"
    if spec is not None and spec.origin is not None and Path(spec.origin).resolve() == ours:
        return
    what = "nothing" if spec is None else spec.origin or ", ".join(spec.submodule_search_locations or ())
    raise ImportError(
        f"caravan needs its own package {package} ({ours.parent}), but Python finds {what} first; rename that file, "
        "or start Python in another folder"
    )
