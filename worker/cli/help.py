"""What ``--help`` prints: panels as wide as the terminal, the common options first, and the rest behind ``--help-all``.

Drawn by hand: importing Rich would double what ``caravan --help`` costs.
"""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from inspect import cleandoc
from typing import Any

from worker.cli.commands import COMMON, RARE
from worker.cli.plain import cells

WIDEST = 120
NARROWEST = 40
FEW = 20
"""Options of a command that are all shown."""
NAMES = 26
"""Characters; a longer name stands on a line of its own."""

Row = tuple[str, str]


def help_of(command: Any, ctx: Any, *, every: bool) -> str:
    """The help of a command or a group of commands. ``every``: with the options that are seldom needed."""
    draw = _Drawing()
    text, example = _split(command.help or "")
    parts = [f"Usage: {usage(command, ctx)}", draw.paragraphs(text)]
    panels, hidden = _panels(command, ctx, every=every)
    if hasattr(command, "list_commands"):
        rows = [(name, _first_line(command.commands[name])) for name in command.list_commands(ctx)]
        panels = [("Commands", rows)]
    parts += [draw.panel(title, rows) for title, rows in panels]
    if hidden:
        parts.append(f"{hidden} more options: {ctx.command_path} --help-all")
    if example:
        parts.append(f"Example: {example}")
    return "\n".join(part for part in parts if part)


def main_help(text: str, groups: Iterable[tuple[str, Sequence[Row]]], options: Sequence[Row]) -> str:
    """The help of ``caravan`` itself."""
    draw = _Drawing()
    first, _, rest = cleandoc(text).partition("\n\n")
    names = max(cells(name) for _, rows in groups for name, _ in rows)
    return "\n".join(
        [
            "Usage: caravan COMMAND …",
            draw.paragraphs(first),
            *(draw.panel(title, rows, names=names) for title, rows in groups),
            draw.panel("Options", options),
            draw.paragraphs(rest),
        ]
    )


def usage(command: Any, ctx: Any) -> str:
    """``caravan run [FILE] [OPTIONS]``"""
    arguments = [_argument(param) for param in command.get_params(ctx) if param.param_type_name == "argument"]
    words = ["COMMAND …"] if hasattr(command, "list_commands") else [*arguments, "[OPTIONS]"]
    return " ".join([ctx.command_path, *words])


def _argument(param: Any) -> str:
    name = (param.metavar or param.name.upper()).strip("[]…")
    many = "…" if param.nargs != 1 else ""
    return f"{name}{many}" if param.required else f"[{name}]{many}"


def option_row(param: Any, ctx: Any) -> Row:
    """``-o, --output FILE`` and what it does."""
    short = [name for name in param.opts if not name.startswith("--")]
    long = [name for name in param.opts if name.startswith("--")]
    names = ", ".join([*short, *long[:1], *param.secondary_opts])
    value = "" if param.is_flag or param.count else f" {_value(param, ctx)}"
    help_text = param.help or ""
    default = param.default
    if default not in (None, False, True, (), [], "") and not param.count and "efault" not in help_text:
        default = f"{default:g}" if isinstance(default, float) else default
        help_text = f"{help_text.rstrip('.')}; default: {default}."
    return f"{names}{value}", help_text


_PLAIN = {
    "int": "N",
    "int range": "N",
    "float": "NUMBER",
    "float range": "NUMBER",
    "path": "PATH",
    "file": "FILE",
}


def _value(param: Any, ctx: Any) -> str:
    """What an option takes, in capitals; or its choices."""
    if param.metavar:
        return str(param.metavar)
    kind = re.sub(r"^list\[(.*)\]$", r"\1", param.display_type(ctx).strip("<>"))
    return kind if "|" in kind else _PLAIN.get(kind, "TEXT")


def _panels(command: Any, ctx: Any, *, every: bool) -> tuple[list[tuple[str, list[Row]]], int]:
    """Titles with their rows, and how many options are left out."""
    params = [param for param in command.get_params(ctx) if not getattr(param, "hidden", False)]
    arguments = [
        (_argument(param), param.help or "")
        for param in params
        if param.param_type_name == "argument" and param.help
    ]
    options = [param for param in params if param.param_type_name == "option"]
    plain = [param for param in options if param.name not in _EVERYWHERE]
    shown = plain
    if not every and len(plain) > FEW:
        shown = [param for param in plain if COMMON & {*param.opts} and _titled(param) not in RARE]
    titled: dict[str, list[Row]] = {}
    for param in shown:
        titled.setdefault(_titled(param) or "Options", []).append(option_row(param, ctx))
    rest = titled.pop("Options", [])
    rest += [
        option_row(param, ctx)
        for param in options
        if param.name in _EVERYWHERE and (every or len(plain) <= FEW)
    ]
    panels = [("Arguments", arguments), *titled.items(), ("Options", rest)]
    return [(title, rows) for title, rows in panels if rows], len(plain) - len(shown)


_EVERYWHERE = ("verbose", "quiet", "log_format", "help")


def _titled(param: Any) -> str | None:
    return getattr(param, "rich_help_panel", None)


def _first_line(command: Any) -> str:
    """The first sentence of its help."""
    line = (command.help or "").strip().partition("\n")[0]
    return line.partition(". ")[0].rstrip(".") + "."


def _split(text: str) -> tuple[str, str]:
    """What a docstring says, and the example at its end."""
    text, _, example = cleandoc(text).partition("Example: ")
    return text.strip(), example.strip()


class _Drawing:
    """Panels and paragraphs for standard output as it is now."""

    def __init__(self) -> None:
        wide = sys.stdout.isatty() or "COLUMNS" in os.environ  # noqa: TID251 - what a terminal says of itself
        columns = shutil.get_terminal_size().columns if wide else 80
        self.width = max(NARROWEST, min(WIDEST, columns))

    def paragraphs(self, text: str) -> str:
        folded = ("\n".join(self._fold(part, self.width)) for part in text.split("\n\n") if part)
        return "\n" + "\n\n".join(folded) + "\n" if text else ""

    def _fold(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(
            " ".join(text.split()), width, break_on_hyphens=False, break_long_words=False
        ) or [""]

    def panel(self, title: str, rows: Sequence[Row], *, names: int = 0) -> str:
        """A box with a line or more for each row."""
        inner = self.width - 4
        left = names or min(NAMES, max(cells(name) for name, _ in rows))
        lines = []
        for name, text in rows:
            folded = self._fold(text, inner - left - 2)
            if cells(name) > left:
                lines += [(piece, "") for piece in self._names(name, inner)]
                name = ""
            lines += [(name, folded[0]), *(("", line) for line in folded[1:])]
        top = f"╭─ {title} {'─' * (self.width - cells(title) - 5)}╮"
        body = [self._row(name, text, left, inner) for name, text in lines]
        return "\n".join([top, *body, f"╰{'─' * (self.width - 2)}╯"])

    def _names(self, name: str, inner: int) -> list[str]:
        """A long name; choices are folded where they are too wide for a line."""
        if cells(name) <= inner:
            return [name]
        return [piece.replace("| ", "|") for piece in textwrap.wrap(name.replace("|", "| "), inner)]

    def _row(self, name: str, text: str, left: int, inner: int) -> str:
        line = f"{name}{' ' * (left - cells(name) + 2)}{text}" if text else name
        return f"│ {line}{' ' * (inner - cells(line))} │"
