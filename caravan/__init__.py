"""The Python API of Caravan: ``from caravan import Caravan``.

Nothing is imported before it is asked for, so ``import caravan`` costs nothing.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.client import BatchHandle
    from worker.domain.batches import BatchProgress
    from worker.errors import CaravanError, Conflict, InputRefused, NoHost, NotFound
    from worker.stack.local import Caravan

__all__ = [
    "BatchHandle",
    "BatchProgress",
    "Caravan",
    "CaravanError",
    "Conflict",
    "InputRefused",
    "NoHost",
    "NotFound",
]

_WHERE = {
    "BatchHandle": "worker.client",
    "BatchProgress": "worker.domain.batches",
    "Caravan": "worker.stack.local",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'caravan' has no attribute {name!r}")
    _see_our_own_worker()
    from importlib import import_module

    return getattr(import_module(_WHERE.get(name, "worker.errors")), name)


def _see_our_own_worker() -> None:
    """Caravan's code lies in a package called ``worker``; a user's own file of that name may stand before it."""
    spec = find_spec("worker")
    found = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
    ours = Path(__file__).resolve().parents[1] / "worker" / "__init__.py"
    if found != ours:
        what = "no package" if found is None else str(found)
        raise ImportError(
            f"caravan needs its own package worker ({ours.parent}), but Python finds {what} first; rename that file, "
            "or start Python in another folder"
        )
