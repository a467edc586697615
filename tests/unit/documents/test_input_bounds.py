"""Inputs that are larger than they look, or never end."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from worker.documents import packed
from worker.documents.encodings import read_text, read_text_argument
from worker.documents.tables import open_rows
from worker.errors import InputRefused

MB = 2**20

_READ = """
import resource, sys
from pathlib import Path
from api_schemas.submissions import Submission
from worker.documents.tables import open_rows
from worker.door.intake import Intake
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
intake = Intake(Submission(models=("m",)))
rows = open_rows(Path(sys.argv[1]))
jobs = list(intake.read(row.raw for row in rows))
print(len(jobs), [str(problem) for problem in intake.problems.first])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.fault(26)
@pytest.mark.parametrize("packed", [False, True])
def test_a_line_of_a_hundred_megabytes_is_refused_by_its_line_and_held_no_more_than_once(
    tmp_path: Path, packed: bool
) -> None:
    path = tmp_path / ("in.jsonl.gz" if packed else "in.jsonl")
    with gzip.open(path, "wb", 1) if packed else path.open("wb") as file:
        file.write(b'{"prompt":"one"}\n{"prompt":"')
        for _ in range(100):
            file.write(b"x" * MB)
        file.write(b'"}\n{"prompt":"three"}\n')

    done = subprocess.run(
        [sys.executable, "-c", _READ, path], capture_output=True, text=True, check=True, timeout=120
    )

    told, megabytes = done.stdout.splitlines()
    assert told == "2 ['line 2: 67,108,865 bytes, a line may have at most 67,108,864']"
    assert int(megabytes) < 2 * 64 + 40, "a line as it grows while it is read, and the blocks"


@pytest.mark.fault(26)
def test_a_packed_file_that_holds_far_more_than_its_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "UNPACKED_FREELY", 10 * MB)
    path = tmp_path / "bomb.jsonl.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(40):
            file.write((b'{"prompt":"' + b" " * 1000 + b'x"}\n') * 1000)

    with pytest.raises(InputRefused) as caught:
        for _ in open_rows(path):
            pass

    assert caught.value.problems[0].code == "too_large"
    assert "over 200 times its size" in str(caught.value)


def test_a_packed_file_of_repeated_texts_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "UNPACKED_FREELY", MB)
    path = tmp_path / "in.jsonl.gz"
    with gzip.open(path, "wb") as file:
        for n in range(20_000):
            file.write(b'{"prompt":"Summarise this in two sentences: document %d"}\n' % (n * 7919 % 20_011))

    assert sum(1 for _ in open_rows(path)) == 20_000


def test_a_table_of_very_many_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text(",".join(f"c{n}" for n in range(10_001)) + "\n" + "x," * 10_000 + "x\n")

    with pytest.raises(InputRefused, match="10,001 columns, at most 10,000 are allowed"):
        open_rows(path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero")
def test_a_prompts_file_that_never_ends_is_refused() -> None:
    with pytest.raises(InputRefused) as caught:
        read_text_argument("@/dev/zero")

    assert caught.value.problems[0].code == "too_large"


@pytest.mark.parametrize("place", ["", ".", "/", "no/such/file", "x" * 5000])
def test_a_prompts_file_that_is_none_is_refused_by_name(place: str, tmp_path: Path) -> None:
    with pytest.raises(InputRefused) as caught:
        read_text(tmp_path / place if place not in ("", ".", "/") else Path(place))

    assert caught.value.problems[0].code == "unreadable"
