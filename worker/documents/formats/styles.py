"""Styles of a Word document, as far as they change what is shown: headings, lists, hidden text."""

import re
import xml.etree.ElementTree as ET
from dataclasses import field

from worker.documents.formats.numbering import whole
from worker.records import record

_OFF = frozenset({"0", "false", "off"})


@record
class Style:
    """What a style says itself; None where it leaves that to the style it is based on."""

    parent: str | None = None
    name: str = ""
    vanish: bool | None = None
    outline: int | None = None
    list_id: str | None = None
    level: int | None = None
    align: str | None = None
    """``superscript``, ``subscript`` or ``baseline``."""


@record
class Styles:
    """The styles of a document by id."""

    styles: dict[str, Style] = field(default_factory=dict)
    default: str = ""
    """The style of paragraphs that name none."""

    def chain(self, style_id: str | None) -> list[Style]:
        """The style and those it is based on, nearest first."""
        styles: list[Style] = []
        while style_id is not None and style_id in self.styles and len(styles) < 20:
            styles.append(self.styles[style_id])
            style_id = styles[-1].parent
        return styles

    def heading(self, style_id: str | None) -> int:
        """1 to 6 for a heading, 1 for the title, 0 for any other paragraph."""
        for style in self.chain(style_id):
            name = style.name.lower()
            if match := re.fullmatch(r"heading ([1-9])", name):
                return min(6, int(match[1]))
            if name == "title":
                return 1
            if style.outline is not None:
                return min(6, style.outline + 1) if style.outline < 9 else 0
        return 0

    def vanishes(self, style_id: str | None) -> bool:
        """Whether text of this style is hidden."""
        return next((style.vanish for style in self.chain(style_id) if style.vanish is not None), False)

    def alignment(self, run: ET.Element) -> str | None:
        """Whether a run of these properties is set high or low."""
        own = value(run, "w:vertAlign")
        chain = () if own is not None else self.chain(value(run, "w:rStyle"))
        return next((style.align for style in chain if style.align is not None), own)

    def numbering(self, style_id: str | None) -> tuple[str | None, int]:
        """The list, and the level in it, of paragraphs of this style."""
        chain = self.chain(style_id)
        list_id = next((style.list_id for style in chain if style.list_id is not None), None)
        return list_id, next((style.level for style in chain if style.level is not None), 0)


def read_styles(root: ET.Element | None) -> Styles:
    """The styles of ``styles.xml``."""
    if root is None:
        return Styles()
    styles: dict[str, Style] = {}
    default = ""
    for element in root.iter("w:style"):
        style_id = element.get("w:styleId", "")
        if element.get("w:type") == "paragraph" and element.get("w:default") in ("1", "true", "on"):
            default = style_id
        num = child(element, "w:pPr", "w:numPr")
        styles[style_id] = Style(
            parent=value(element, "w:basedOn"),
            name=value(element, "w:name") or "",
            vanish=toggle(element.find("w:rPr"), "w:vanish"),
            align=value(element.find("w:rPr"), "w:vertAlign"),
            outline=None
            if (out := value(child(element, "w:pPr"), "w:outlineLvl")) is None
            else whole(out, 9),
            list_id=None if num is None else value(num, "w:numId"),
            level=None if num is None or (at := value(num, "w:ilvl")) is None else whole(at, 0),
        )
    return Styles(styles, default)


def child(element: ET.Element | None, *names: str) -> ET.Element | None:
    """The element at the end of these steps."""
    for name in names:
        element = None if element is None else element.find(name)
    return element


def value(element: ET.Element | None, name: str) -> str | None:
    """The ``w:val`` of a child."""
    node = child(element, name)
    return None if node is None else node.get("w:val")


def toggle(properties: ET.Element | None, name: str) -> bool | None:
    """Whether a property is switched on; None where nothing is said of it."""
    node = None if properties is None else properties.find(name)
    return None if node is None else node.get("w:val", "1").lower() not in _OFF
