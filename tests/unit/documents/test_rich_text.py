"""What a file of Rich Text Format says: each font in its own encoding, and nothing that Word does not show."""

import pytest

from worker.documents.formats.limits import Refused
from worker.documents.formats.reading import read_bytes

_FONTS = (
    rb"{\fonttbl{\f0\fnil\fcharset0 Calibri;}{\f1\fnil\fcharset204 Arial{\*\falt Helv};}{\f2\fcharset161 Arial;}"
    rb"{\f3\fcharset134 SimSun;}{\f4\fcharset128 MS Gothic;}{\f5\fcharset129 Batang;}{\f6\fcharset238 Arial CE;}"
    rb"{\f7\fcharset2 Symbol;}}"
)


def shown(body: bytes, *, head: bytes = rb"\ansi\ansicpg1252\deff0", fonts: bytes = _FONTS) -> str:
    return str(read_bytes(b"{\\rtf1" + head + fonts + body + b"}", "a.rtf")["text"]).strip()


def escaped(text: str, encoding: str) -> bytes:
    return b"".join(b"\\'%02x" % byte for byte in text.encode(encoding))


@pytest.mark.parametrize(
    ("font", "encoding", "text"),
    [
        (1, "cp1251", "Привет"),
        (2, "cp1253", "Καλημέρα"),
        (3, "gbk", "合同金额"),
        (4, "cp932", "日本語ソ表"),
        (5, "cp949", "한국어"),
        (6, "cp1250", "Žluťoučký"),
    ],
)
def test_text_is_read_in_the_encoding_of_its_font(font: int, encoding: str, text: str) -> None:
    body = rb"\f0 caf\'e9 {\f%d " % font + escaped(text, encoding) + rb"} caf\'e9\par"
    assert shown(body) == f"café {text} café"


def test_the_second_byte_of_a_character_may_be_a_letter_or_a_bracket() -> None:
    assert shown(rb"\f4 \'83A\'83\{\par") == "アボ"


@pytest.mark.parametrize(
    "fonts", [b"", rb"{\fonttbl{\f0\fnil Arial;}}", rb"{\fonttbl{\f0\fcharset0 Arial;}}"]
)
def test_a_program_without_charsets_means_the_encoding_of_the_file(fonts: bytes) -> None:
    body = rb"\f0 " + escaped("Договор", "cp1251")
    assert shown(body, head=rb"\ansi\ansicpg1251\deff0", fonts=fonts) == "Договор"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (rb"\uc1 \u1055?\u1088\'3f\uc2\u20013\'d6\'d0 \uc0\u8364 5", "Пр中 €5"),
        (rb"\u-10179?\u-8704?", "😀"),
        (rb"{\upr{ansi}{\*\ud{\u1055?}}}", "П"),
        (rb"10{\super 6} m{\super 2\nosupersub x} H{\sub 2}O 10{\up6 3}", "10^6 m^2x H2O 10^3"),
        (rb"seen {\v hidden }{\deleted gone }{\revised new}{\*\unknown x}", "seen new"),
        (rb"was {\strike 10} now 8", "was ~~10~~ now 8"),
        (rb"a\tab b\line c\~d\_e\-f\emdash g\{h\}", "a\tb\nc d‑ef—g{h}"),
        (rb"{\listtext 1.\tab}first\par{\pntext\f7\'b7\tab}second", "1. first\n\n- second"),
        (rb'{\field{\*\fldinst HYPERLINK "http://a.b/"}{\fldrslt link}}', "[link](http://a.b/)"),
        (rb'{\field{\*\fldinst SYMBOL 97 \\f "Symbol"}{\fldrslt }}{\f7 \'62}', "αβ"),
        (rb"x{\footnote \pard A note\par}y", "x[^1]y\n\n[^1]: A note"),
        (rb"a{\shp{\*\shpinst{\sp{\sn n}{\sv v}}{\shptxt box\par}}{\shprslt box}}b\par", "ab\n\nbox"),
        (rb"{\header Top\par}{\footer End\par}text\par", "Top\n\ntext\n\nEnd"),
        (rb"{\pict\pngblip 8950}{\pict\bin5 }}}}}}a{\bin2 {{b}", "ab"),
        (rb"{\stylesheet{Normal;}{\s2 heading 2;}}\pard\s2 Part\par\pard text", "## Part\n\ntext"),
        (rb"never closed {\b text", "never closed text"),
    ],
)
def test_what_is_shown_is_read(body: bytes, text: str) -> None:
    assert shown(body) == text


def test_a_row_of_a_table_is_a_line() -> None:
    row = rb"\trowd\cellx1\cellx2\pard\intbl %s\cell %s\cell\row"
    table = row % (rb"a\par b", b"1") + row % (b"", rb"10{\super 6}")
    assert shown(rb"before\par" + table + rb"\pard after\par") == "before\n\na b | 1\n| 10^6\n\nafter"


def test_title_and_author_are_metadata() -> None:
    content = read_bytes(rb"{\rtf1\ansi{\info{\title Offer}{\author Ann}{\company X}}text}", "a.rtf")
    assert content["metadata"] == {"title": "Offer", "authors": ["Ann"]}


@pytest.mark.parametrize(
    ("data", "code"),
    [(rb"{\rtf1\ansi {\v all hidden}}", "no_text"), (b"{\\rtf1" + b"{" * 200_000, "too_large")],
)
def test_a_file_without_a_word_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(Refused) as refused:
        read_bytes(data, "a.rtf")
    assert refused.value.code == code
