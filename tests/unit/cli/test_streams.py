"""Standard streams: harmless on a terminal, exact elsewhere, quiet when their reader has gone."""

import io
import json
import os

import pytest
import typer
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from worker.cli.drawing import SafeConsole
from worker.cli.render import one_line, plain_table
from worker.cli.streams import LenientStream, machine_output, standard_streams
from worker.observability.terminal import terminal_safe

HOSTILE = "name\x1b]0;title\x07 \x9b2J \x7f\b\r \u202egnp.exe\u202c \u2066x\u2069"


@pytest.mark.parametrize(
    "sign", [chr(n) for n in (*range(32), *range(0x7F, 0xA0), 0x2028, 0x202E, 0x202D, 0x2066)]
)
def test_no_control_sign_stays_in_text_for_a_terminal(sign: str) -> None:
    kept = sign in "\n\t"

    assert (sign in terminal_safe(f"a{sign}b")) is kept


def test_letters_of_any_writing_and_joined_emoji_stay() -> None:
    text = "Grüße 绿茶 שלום\u200f مرحبا 👩‍👩‍👧 🏴󠁧󠁢󠁳󠁣󠁴󠁿\r\nnext\tcell"

    assert terminal_safe(text) == text


def test_a_line_of_json_means_the_same_on_a_terminal() -> None:
    line = json.dumps({"answer": HOSTILE}, ensure_ascii=False)

    shown = terminal_safe(line)

    assert shown != line
    assert json.loads(shown) == {"answer": HOSTILE}


def drawn(*, terminal: bool, renderable: object) -> str:
    out = io.StringIO()
    console = SafeConsole(file=out, force_terminal=terminal, width=200)
    console.print(renderable, style="yellow")
    return out.getvalue()


def tables() -> list[object]:
    table = plain_table("host", "why", cut=("why",))
    table.add_row(HOSTILE, one_line(HOSTILE))
    titled = Table(title=HOSTILE, caption=HOSTILE)
    titled.add_column(HOSTILE)
    titled.add_row(Text(HOSTILE, style="red"))
    return [HOSTILE, Text(HOSTILE), table, titled]


@pytest.mark.parametrize("renderable", tables(), ids=["text", "Text", "cells", "titles"])
def test_a_console_draws_colours_but_never_what_a_text_asks_for(renderable: object) -> None:
    shown = drawn(terminal=True, renderable=renderable)

    assert "\x1b[" in shown, "its own colours are there"
    assert "\x1b]" not in shown
    for sign in "\x07\x9b\x7f\b\r\u202e\u2066":
        assert sign not in shown


def test_a_progress_bar_never_draws_what_a_name_asks_for() -> None:
    out = io.StringIO()
    console = SafeConsole(file=out, force_terminal=True, width=100)
    with Progress(TextColumn("{task.description}", markup=False), console=console) as bars:
        bars.add_task("[/oops] " + HOSTILE, total=3)

    assert "\x1b]" not in out.getvalue()
    assert "\x9b" not in out.getvalue()
    assert "[/oops]" in out.getvalue()


def test_what_is_written_after_the_reader_has_gone_is_dropped() -> None:
    reader, writer = os.pipe()
    raw = os.fdopen(writer, "w", encoding="utf-8", buffering=1)
    stream = LenientStream(raw)
    os.close(reader)

    for _ in range(3):
        stream.write("nobody reads this\n")
        stream.flush()

    raw.close()


def test_a_full_disk_is_no_reader_that_has_gone() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        stream = LenientStream(full)
        stream.write("x")
        with pytest.raises(OSError, match="No space left"):
            stream.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


def test_bytes_of_a_name_that_are_no_text_are_spelled() -> None:
    raw = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)

    LenientStream(raw).write("caf\udce9.txt\n")

    raw.seek(0)
    assert raw.read() == "caf\\udce9.txt\n"


def test_text_for_people_is_harmless_also_where_a_file_stands_before_the_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with standard_streams():
        typer.echo(HOSTILE)
        typer.echo(HOSTILE, err=True)
        with machine_output() as out:
            out.write(HOSTILE)

    shown = capfd.readouterr()
    assert terminal_safe(shown.err) == shown.err
    assert shown.out == f"{terminal_safe(HOSTILE)}\n{HOSTILE}"
