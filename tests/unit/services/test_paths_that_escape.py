"""Names of hosts, outputs and inputs that lead elsewhere than they should."""

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.door.input_files import keep_standard_input
from worker.exports.targets import replacing
from worker.serving.spool import spool_path

HOME = Path("/home/caravan")

names = st.text(st.sampled_from("aB1._-:/@%[]\\~ é"), min_size=1, max_size=8) | st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300
)


@given(names, names)
def test_no_two_hosts_share_a_spool_and_none_lies_elsewhere(one: str, other: str) -> None:
    first, second = spool_path(HOME, one), spool_path(HOME, other)

    assert (first == second) is (one == other)
    assert Path(os.path.normpath(first)).parent == HOME / "spool"
    assert len(first.name.encode()) <= 255


@pytest.mark.parametrize("name", ["gpu-1", "gpu_1.lan"])
def test_an_ordinary_host_has_a_spool_of_its_name(name: str) -> None:
    assert spool_path(HOME, name) == HOME / "spool" / f"{name}.jsonl"


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_that_lies_where_the_output_is_written_first_is_not_followed(tmp_path: Path) -> None:
    precious, output = tmp_path / "precious", tmp_path / "answers.csv"
    precious.write_text("mine")
    (tmp_path / ".answers.csv.part").symlink_to(precious)

    with pytest.raises(OSError, match="symbolic links"), replacing(output) as out:
        out.write(b"theirs")

    assert precious.read_text() == "mine"
    assert not output.exists()


def test_what_a_killed_writer_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".answers.csv.part").write_text("half an answer, and more than what comes")

    with replacing(tmp_path / "answers.csv") as out:
        out.write(b"whole")

    assert (tmp_path / "answers.csv").read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["answers.csv"]


def test_inputs_that_are_piped_in_at_once_do_not_mix(tmp_path: Path) -> None:
    class Meanwhile(io.BytesIO):
        """Another input comes while this one is read."""

        other: Path | None = None

        def read(self, size: int | None = -1, /) -> bytes:
            if self.other is None:
                self.other = keep_standard_input(io.BytesIO(b'{"prompt":"other"}\n'), tmp_path)
            return super().read(size)

    stream = Meanwhile(b'{"prompt":"this"}\n')

    kept = keep_standard_input(stream, tmp_path)

    assert kept.read_bytes() == b'{"prompt":"this"}\n'
    assert stream.other is not None
    assert stream.other.read_bytes() == b'{"prompt":"other"}\n'
    assert len(list(tmp_path.iterdir())) == 2


def test_an_input_that_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError("the pipe broke")

    with pytest.raises(OSError, match="the pipe broke"):
        keep_standard_input(Broken(), tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "rows", "ending"),
    [
        (b"PAR1\x15\x04", True, ".parquet"),
        (b"PK\x03\x04\x14\x00", False, ".xlsx"),
        (b"PK\x03\x04....mimetypeapplication/vnd.oasis.opendocument.spreadsheet", True, ".ods"),
        (b"id,text\n", True, ".csv"),
        (b'\xef\xbb\xbf{"prompt": "a"}\n', True, ".jsonl"),
        (b"id,text\n", False, ".jsonl"),
    ],
)
def test_a_table_that_is_piped_in_is_kept_under_the_ending_of_its_kind(
    tmp_path: Path, content: bytes, rows: bool, ending: str
) -> None:
    assert keep_standard_input(io.BytesIO(content), tmp_path, rows=rows).suffix == ending
