"""The jobs that are asked: short prompts of ordinary length, a line each, all for one model."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MODEL = "bench:1b"
_PROMPT = (
    "A customer writes: the parcel {n} was to come on Monday, it is Thursday now, nobody rang and the page still "
    "says that it is on its way. She moved house last month and asks whether the old address may be on the label, "
    "whether the gift inside can be kept from spoiling, and who pays if it comes back. Sum up in two sentences what "
    "she wants, name the one question that has to be answered first, and say how sure you are."
)


def job_values(jobs: int, name: str) -> Iterator[dict[str, Any]]:
    """That many jobs as a producer writes them; their ids begin with ``name``."""
    for n in range(1, jobs + 1):
        yield {
            "custom_id": f"{name}-{n}",
            "model": MODEL,
            "prompt": _PROMPT.format(n=n),
            "options": {"temperature": 0.2, "num_predict": 200},
        }


def write_jobs(folder: Path, name: str, jobs: int) -> Path:
    """``jobs`` lines into a file of ``folder``; their ids begin with ``name``. Returns the file."""
    path = folder / f"{name}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(values)}\n" for values in job_values(jobs, name))
    return path
