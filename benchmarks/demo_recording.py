"""Records ``caravan demo`` on a terminal as an animated SVG: ``docs/demo.svg``, the recording of the README.

``.venv/bin/uv run --with pyte python -m benchmarks.demo_recording`` runs the demo in a pseudo-terminal in a home of its
own, reads its screen as a terminal would, and writes each screen that differs as a frame.
"""

import os
import pty
import re
import select
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "demo.svg"
TITLE = "A recording of caravan demo: 132 jobs over three models on two simulated hosts"
COLUMNS, ROWS = 84, 30
CELL, LINE, EDGE = 7.8, 17, 12
"""Pixels: width of a character, height of a line, margin."""
SHORTEST, LONGEST, LAST = 0.25, 1.0, 8.0
"""Seconds that a frame, a frame of a screen that stands still, and the last frame are shown."""
COLOURS = {
    "red": "#e06c75", "green": "#98c379", "brown": "#e5c07b", "yellow": "#e5c07b", "blue": "#61afef",
    "magenta": "#c678dd", "cyan": "#56b6c2", "white": "#dcdfe4", "black": "#5c6370",
}  # fmt: skip
PLAIN, GROUND = "#dcdfe4", "#22272e"

Run = tuple[int, str, str, bool]
"""Column, text, colour, bold."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A screen, and for how many seconds it is shown."""

    lines: tuple[tuple[Run, ...], ...]
    seconds: float


def record(command: Sequence[str]) -> list[Frame]:
    """The screens of ``command`` on a terminal of its own. Raises RuntimeError where it fails."""
    import pyte  # type: ignore[import-not-found]  # not among the development tools

    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    _type(stream, f"$ {' '.join(command)}\r\n")
    frames, shown = [], time.monotonic()
    lines = lines_of(screen)
    for output in _outputs(command):
        now = time.monotonic()
        if now - shown >= SHORTEST and (seen := lines_of(screen)) != lines:
            frames.append(Frame(lines, min(now - shown, LONGEST)))
            lines, shown = seen, now
        stream.feed(output)
    return [*frames, Frame(lines, SHORTEST), Frame(lines_of(screen), LAST)]


def _type(stream: object, text: str) -> None:
    stream.feed(text.encode())  # type: ignore[attr-defined]


def _outputs(command: Sequence[str]) -> Iterator[bytes]:
    """What the command writes, as it comes; an empty text where it writes nothing for a while."""
    with tempfile.TemporaryDirectory(prefix="caravan-recording-") as home:
        pid, terminal = pty.fork()
        if pid == 0:
            place = {"HOME": home, "CARAVAN_HOME": f"{home}/caravan", "TERM": "xterm-256color"}
            size = {"COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
            path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
            os.execvpe(command[0], list(command), {**place, **size, "PATH": path, "LANG": "C.UTF-8"})
        try:
            while True:
                ready, _, _ = select.select([terminal], [], [], SHORTEST)
                yield os.read(terminal, 65536) if ready else b""
        except OSError:  # the command has closed its terminal
            _, status = os.waitpid(pid, 0)
            if status:
                raise RuntimeError(
                    f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}"
                ) from None
        except BaseException:
            os.kill(pid, signal.SIGTERM)
            raise


def lines_of(screen: object, columns: int = COLUMNS, rows: int = ROWS) -> tuple[tuple[Run, ...], ...]:
    """The screen as runs of characters of one colour."""
    buffer = screen.buffer  # type: ignore[attr-defined]
    return tuple(tuple(_runs(buffer[row], columns)) for row in range(rows))


def _runs(row: object, columns: int) -> Iterator[Run]:
    start, text, style = 0, "", ("default", False)
    for column in range(columns):
        cell = row[column]  # type: ignore[index]
        if (cell.fg, cell.bold) != style:
            if text.strip():
                yield start, text.rstrip(), style[0], style[1]
            start, text, style = column, "", (cell.fg, cell.bold)
        text += cell.data
    if text.strip():
        yield start, text.rstrip(), style[0], style[1]


def picture(frames: Sequence[Frame], title: str = TITLE, columns: int = COLUMNS) -> str:
    """The SVG: every frame beside the one before, and an animation that steps from one to the next."""
    rows = max(row for frame in frames for row, line in enumerate(frame.lines, start=1) if line)
    width, height = columns * CELL + 2 * EDGE, rows * LINE + 2 * EDGE
    total = sum(frame.seconds for frame in frames)
    names: dict[tuple[Run, ...], str] = {}
    drawn, steps, at = [], [], 0.0
    for number, frame in enumerate(frames):
        uses = []
        for row, line in enumerate(frame.lines):
            if line:
                name = names.setdefault(line, f"l{len(names)}")
                uses.append(f'<use href="#{name}" y="{row * LINE}"/>')
        drawn.append(f'<g transform="translate({number * width:.0f})">{"".join(uses)}</g>')
        steps.append(f"{100 * at / total:.3f}%{{transform:translateX({-number * width:.0f}px)}}")
        at += frame.seconds
    end = -(len(frames) - 1) * width
    style = f"text{{font:13px ui-monospace,Menlo,Consolas,monospace;white-space:pre;fill:{PLAIN}}}"
    film = (
        f"@keyframes show{{{''.join(steps)}}}"
        f"#film{{animation:show {total:.1f}s step-end infinite}}"
        f"@media(prefers-reduced-motion){{#film{{animation:none;transform:translateX({end:.0f}px)}}}}"
    )
    lines = [f'<g id="{name}">{"".join(map(_text, line))}</g>' for line, name in names.items()]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}">',
            f"<title>{escape(title)}</title>",
            f"<style>{style}{film if len(frames) > 1 else ''}</style>",
            f"<defs>{''.join(lines)}</defs>",
            f'<rect width="100%" height="100%" rx="8" fill="{GROUND}"/>',
            f'<g id="film">{"".join(drawn)}</g>',
            "</svg>",
            "",
        ]
    )


def _text(run: Run) -> str:
    column, text, colour, bold = run
    shade = COLOURS.get(
        colour.removeprefix("bright"), f"#{colour}" if re.fullmatch(r"[0-9a-f]{6}", colour) else PLAIN
    )
    fill = "" if shade == PLAIN else f' fill="{shade}" style="fill:{shade}"'
    weight = ' font-weight="bold"' if bold else ""
    length = f' textLength="{len(text) * CELL:.1f}"'
    x, y = EDGE + column * CELL, EDGE + LINE - 4
    return f'<text x="{x:.1f}" y="{y}"{length}{fill}{weight}>{escape(text)}</text>'


def main() -> None:
    """Record the demo and write the picture."""
    frames = record(["caravan", "demo"])
    PICTURE.write_text(picture(frames), encoding="utf-8")
    print(f"{len(frames)} frames, {PICTURE.stat().st_size // 1024} KB in {PICTURE}")


if __name__ == "__main__":
    main()
