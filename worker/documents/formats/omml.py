"""Formulas of Word on one line: a half is ``1/2`` and never ``12``."""

import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence

from worker.documents.formats.mathml import grouped
from worker.documents.formats.styles import child

FORMULAS = frozenset({"m:f", "m:sSup", "m:sSub", "m:sSubSup", "m:rad", "m:nary", "m:d", "m:m", "m:mr", "m:func", "m:limLow",
                      "m:limUpp", "m:eqArr", "m:acc"})  # fmt: skip
"""Elements whose parts need signs between them."""


def formula(element: ET.Element, text_of: Callable[[ET.Element], str]) -> str:
    """An element of a formula; ``text_of`` gives the text of one within it."""
    texts: dict[str, list[str]] = {}
    for inner in element:
        if not inner.tag.endswith("Pr"):
            text = formula(inner, text_of) if inner.tag == "m:mr" else text_of(inner)
            texts.setdefault(inner.tag, []).append(text.strip())
    parts = {tag: found[0] for tag, found in texts.items()}
    base = parts.get("m:e", "")
    below, above = (_side(parts, tag, sign) for tag, sign in (("m:sub", "_"), ("m:sup", "^")))
    match element.tag:
        case "m:f":
            sides = [parts.get("m:num", ""), parts.get("m:den", "")]
            return "/".join(grouped(side) for side in sides) if all(sides) else "".join(sides)
        case "m:sSup" | "m:sSub" | "m:sSubSup":
            return (
                f"{grouped(base)}{below}{above}"
                if base
                else f"{parts.get('m:sub', '')}{parts.get('m:sup', '')}"
            )
        case "m:rad":
            degree = parts.get("m:deg", "")
            return f"root({degree}, {base})" if degree else f"√{grouped(base)}"
        case "m:nary":
            return f"{_sign(element, 'm:chr', '∫')}{below}{above} {base}"
        case "m:d":
            within = _sign(element, "m:sepChr", "|").join(texts.get("m:e", []))
            return f"{_sign(element, 'm:begChr', '(')}{within}{_sign(element, 'm:endChr', ')')}"
        case "m:m" | "m:eqArr":
            return _rows(texts, element.tag)
        case "m:mr":
            return ", ".join(texts.get("m:e", []))
        case "m:func":
            return f"{parts.get('m:fName', '')} {base}"
        case "m:limLow" | "m:limUpp":
            return f"{base}{'_' if element.tag == 'm:limLow' else '^'}{grouped(parts.get('m:lim', ''))} "
        case _:
            return base + _sign(element, "m:chr", "\N{COMBINING CIRCUMFLEX ACCENT}")


def _rows(texts: Mapping[str, Sequence[str]], tag: str) -> str:
    return f"[{'; '.join(texts.get('m:mr', []))}]" if tag == "m:m" else "; ".join(texts.get("m:e", []))


def _side(parts: Mapping[str, str], tag: str, sign: str) -> str:
    return f"{sign}{grouped(parts[tag])}" if parts.get(tag) else ""


def _sign(element: ET.Element, name: str, default: str) -> str:
    """A sign that the properties name; none where they name an empty one."""
    node = child(element, f"{element.tag}Pr", name)
    return default if node is None else node.get("m:val", "")
