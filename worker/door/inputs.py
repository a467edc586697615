"""Standard input is kept as a file first: it has a hash then, and can be read again."""

import hashlib
import tempfile
from pathlib import Path
from typing import BinaryIO


def keep_standard_input(stream: BinaryIO, folder: Path, *, rows: bool = False) -> Path:
    """Copy ``stream`` into ``folder`` under the name of its hash, so that a run of it can be told from another.

    ``rows``: a template is there to make jobs of them, so what does not begin as JSON lines do is a CSV.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile("wb", dir=folder, prefix="stdin-", suffix=".part", delete=False) as file:
        partial = Path(file.name)  # of its own: two may be piped in at once
        try:
            while block := stream.read(1 << 20):
                digest.update(block)
                file.write(block)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    with partial.open("rb") as file:
        table = rows and not file.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
    kept = folder / f"stdin-{digest.hexdigest()[:16]}.{'csv' if table else 'jsonl'}"
    partial.rename(kept)
    return kept
