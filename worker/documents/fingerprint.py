"""Is this document asked as it was the last time? A hash of all that decides the answer, except the model's weights."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from worker.documents.read import Document


def fingerprint(
    document: Document, template: str, model: str, options: Mapping[str, Any], *, system: str | None = None
) -> bytes:
    """32 bytes, equal as long as content, name, template, system, model and options are.

    ``options``: whatever else goes with the request (``format``, ``think``, how long ones are split), in any order. The name
    counts, since a template may print it; the folder above the root does not, so that a root may be moved.
    """
    said = {
        "document": document.sha256,
        "name": document.name,
        "images": bool(document.images),
        "template": template,
        "system": system,
        "model": model,
        "options": options,
    }
    written = json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(written.encode("utf-8", "surrogatepass")).digest()
