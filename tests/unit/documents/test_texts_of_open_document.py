# ruff: noqa: E501  lines of XML
"""A text of OpenDocument is read as LibreOffice shows it."""

import io
import zipfile

import pytest

from tests.made_office import open_document, packed
from worker.documents.formats.limits import Refused
from worker.documents.formats.reading import read_bytes

_STYLES = (
    ("high", 'style:text-position="super 58%"'),
    ("low", 'style:text-position="-33% 58%"'),
    ("struck", 'style:text-line-through-style="solid"'),
    ("gone", 'text:display="none"'),
)


def odt(body: str, *, lists: str = "") -> bytes:
    styles = "".join(
        f'<style:style xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0" style:name="{key}"><style:text-properties {about}/></style:style>'
        for key, about in _STYLES
    )
    with zipfile.ZipFile(io.BytesIO(open_document("text", body))) as archive:
        parts: dict[str, str | bytes] = {part: archive.read(part).decode() for part in archive.namelist()}
    parts["content.xml"] = str(parts["content.xml"]).replace(
        "<office:body>", f"<office:automatic-styles>{styles}{lists}</office:automatic-styles><office:body>"
    )
    return packed(**parts)


def shown(body: str, *, lists: str = "") -> str:
    return str(read_bytes(odt(body, lists=lists), "a.odt")["text"]).strip()


def p(inner: str) -> str:
    return f"<text:p>{inner}</text:p>"


def span(style: str, text: str) -> str:
    return f'<text:span text:style-name="{style}">{text}</text:span>'


_NUMBERS = (
    '<text:list-style xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0" style:name="N">'
    '<text:list-level-style-number text:level="1" style:num-format="1" style:num-suffix="."/>'
    '<text:list-level-style-number text:level="2" style:num-format="a" style:num-suffix=")"/></text:list-style>'
)


def items(*texts: str, about: str = "") -> str:
    return f"<text:list {about}>{''.join(f'<text:list-item>{text}</text:list-item>' for text in texts)}</text:list>"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (p('one<text:s text:c="3"/>two<text:tab/>three<text:line-break/>four'), "one   two\tthree\nfour"),
        (p("one<text:s/>two\n   three"), "one two three"),
        (p("10" + span("high", "6") + " H" + span("low", "2") + "O"), "10^6 H2O"),
        (p(span("struck", "$10") + " $8" + span("gone", "hidden")), "~~$10~~ $8"),
        (p("a<text:soft-page-break/>b <text:page-number>3</text:page-number>"), "ab 3"),
        (p('w<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>A note</text:p></text:note-body></text:note>x'), "w[^1]x\n\n[^1]: A note"),
        (p("x<office:annotation><text:p>comment</text:p></office:annotation>y"), "xy"),
        ("<text:tracked-changes><text:changed-region><text:deletion><text:p>OLD</text:p></text:deletion></text:changed-region></text:tracked-changes>" + p("a<text:change/>b"), "ab"),
        ('<text:section text:display="none">' + p("no") + "</text:section><text:section>" + p("yes") + "</text:section>", "yes"),
        (p("before<draw:frame><draw:text-box>" + p("box") + "</draw:text-box></draw:frame> after"), "before after\n\nbox"),
        ('<text:h text:outline-level="2">Part</text:h>' + p('<text:a xlink:href="http://a.b/" xmlns:xlink="http://www.w3.org/1999/xlink">link</text:a>'), "## Part\n\n[link](http://a.b/)"),
        (p("<text:ruby><text:ruby-base>漢</text:ruby-base><text:ruby-text>kan</text:ruby-text></text:ruby>"), "漢(kan)"),
        (items(p("a") + items(p("b")), p("c")), "- a\n  - b\n- c"),
        (items(p("a") + items(p("b")), p("c"), about='text:style-name="N"') + items(p("d"), about='text:style-name="N" text:continue-numbering="true"'), "1. a\n  a) b\n2. c\n\n3. d"),
        ("<table:table><table:table-header-rows><table:table-row><table:table-cell>" + p("k") + '</table:table-cell><table:table-cell table:number-columns-repeated="2">' + p("v") + "</table:table-cell></table:table-row></table:table-header-rows><table:table-row><table:table-cell>" + p("1") + p("2") + "</table:table-cell><table:covered-table-cell/><table:table-cell>" + p("3") + "</table:table-cell></table:table-row></table:table>", "k | v | v\n1 2 |  | 3"),
    ],
)  # fmt: skip
def test_what_is_shown_is_read(body: str, text: str) -> None:
    assert shown(body, lists=_NUMBERS) == text


def test_a_text_with_a_password_is_refused_as_encrypted() -> None:
    parts: dict[str, str | bytes] = {
        "mimetype": "application/vnd.oasis.opendocument.text",
        "content.xml": b"\x00\x01",
        "META-INF/manifest.xml": "<manifest><encryption-data/></manifest>",
    }
    locked = packed(**parts)
    with pytest.raises(Refused) as refused:
        read_bytes(locked, "a.odt")
    assert refused.value.code == "encrypted"
