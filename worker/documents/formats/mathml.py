"""Formulas of MathML on one line: a half is ``1/2`` and never ``12``."""

from collections.abc import Mapping, Sequence
from dataclasses import field

from worker.records import mutable_record

_TEX = frozenset({"application/x-tex", "application/x-latex", "tex", "latex"})
_BESIDE = frozenset({"annotation", "annotation-xml", "none", "mprescripts"})
DEEPEST = 100


@mutable_record
class Node:
    """An element of a formula: its texts and elements in their order."""

    tag: str
    attributes: Mapping[str, str]
    inside: list["Node | str"] = field(default_factory=list)


def formula(math: Node) -> str:
    """The formula as its author wrote it in TeX, where the page has that, else from its elements."""
    tex = _tex(math, 0)
    return f"${tex}$" if tex else _line(math, 0)


def _tex(node: Node, depth: int) -> str:
    if node.tag == "annotation" and node.attributes.get("encoding", "").strip().lower() in _TEX:
        return " ".join("".join(part for part in node.inside if isinstance(part, str)).split())
    inner = (part for part in node.inside if isinstance(part, Node))
    return next((tex for part in inner if depth < DEEPEST and (tex := _tex(part, depth + 1))), "")


def _line(node: "Node | str", depth: int) -> str:
    if isinstance(node, str):
        return " ".join(node.split())
    if depth > DEEPEST or (node.tag in _BESIDE):
        return ""
    elements = [part for part in node.inside if isinstance(part, Node) and part.tag not in _BESIDE]
    parts = [_line(part, depth + 1) for part in elements]
    match node.tag, parts:
        case "mfrac", [above, below]:
            return f"{grouped(above)}/{grouped(below)}"
        case (("msup" | "mover"), [base, above]):
            return f"{base}^{grouped(above)}" if any(map(str.isalnum, above)) else base + above
        case (("msub" | "munder"), [base, below]):
            return f"{base}_{grouped(below)}"
        case (("msubsup" | "munderover"), [base, below, above]):
            return f"{base}_{grouped(below)}^{grouped(above)}"
        case "mroot", [base, degree]:
            return f"root({degree}, {base})"
        case "msqrt", _:
            return f"√{grouped(''.join(parts))}"
        case "mfenced", _:
            inner = node.attributes.get("separators", ",").strip()[:1].join(parts)
            return f"{node.attributes.get('open', '(')}{inner}{node.attributes.get('close', ')')}"
        case "mtable", _:
            return f"[{'; '.join(parts)}]"
        case (("mtr" | "mlabeledtr"), _):
            return ", ".join(parts)
        case "mtext", _:
            return _texts(node.inside, depth, " ")
        case _:
            return _texts(node.inside, depth, "")


def _texts(parts: Sequence["Node | str"], depth: int, space: str) -> str:
    text = "".join(_line(part, depth + 1) for part in parts)
    return f"{space}{text}{space}" if text else ""


def grouped(part: str) -> str:
    """What may stand beside a sign without brackets around it.

    >>> grouped("12"), grouped("a+b"), grouped("-3"), grouped("")
    ('12', '(a+b)', '(-3)', '()')
    """
    part = part.strip()
    return part if part.isalnum() else f"({part})"
