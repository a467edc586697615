"""Imports requests at two thirds of its cost."""

import sys
import warnings
from typing import Any


def import_requests() -> None:
    """Import requests without the library that guesses encodings: its tables are a third of what requests costs to import,
    and the replies of Ollama are JSON in UTF-8. Python programs that import Caravan keep the guesses; a command has no use
    for them."""
    if "requests" in sys.modules:
        return
    warnings.filterwarnings("ignore", "Unable to find acceptable character detection")
    guessers = [name for name in ("chardet", "charset_normalizer") if name not in sys.modules]
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(guessers))  # None: the import system takes such a module for missing
    try:
        import requests  # noqa: F401
    finally:
        for name in guessers:
            del sys.modules[name]
