"""Patterns of files as regular expressions: ``*`` and ``?`` stay within one folder, ``**`` is any number of folders."""

import re

from worker.errors import InputRefused, Problem

MAGIC = re.compile(r"[*?[]")


def matches(pattern: str, name: str) -> bool:
    """Whether the name matches; names that begin with a dot only where the pattern says so."""
    return compiled(pattern).fullmatch(name) is not None


def compiled(pattern: str, *, hidden: bool = False) -> re.Pattern[str]:
    """The expression. ``hidden``: wildcards match names that begin with a dot, too. Raises InputRefused.

    >>> bool(compiled("**/*.pdf").fullmatch("a/b.pdf")), bool(compiled("*.pdf").fullmatch("a/b.pdf"))
    (True, False)
    """
    parts = pattern.strip("/").split("/")
    visible = "" if hidden else r"(?!\.)"
    written = []
    for at, part in enumerate(parts):
        last = at == len(parts) - 1
        if part == "**":
            written.append(rf"(?:{visible}[^/]+/)*{visible}[^/]+" if last else rf"(?:{visible}[^/]+/)*")
        else:
            written.append(_segment(part, visible) + ("" if last else "/"))
    try:
        return re.compile("".join(written), re.DOTALL)
    except re.error as error:
        message = f"{pattern}: not a pattern: {error}"
        raise InputRefused([Problem(0, "documents", "invalid_value", message)]) from error


def _segment(part: str, visible: str) -> str:
    written, at = [], 0
    while at < len(part):
        sign = part[at]
        end = part.find("]", at + 2) if sign == "[" else -1
        if sign == "*":
            written.append("[^/]*")
        elif sign == "?":
            written.append("[^/]")
        elif end > 0:
            inner = part[at + 1 : end].replace("\\", r"\\").replace("[", r"\[")
            written.append(f"[{'^/' + inner[1:] if inner[0] in '!^' else inner}]")
            at = end
        else:
            written.append(re.escape(sign))
        at += 1
    return ("" if part.startswith(".") else visible) + "".join(written)
