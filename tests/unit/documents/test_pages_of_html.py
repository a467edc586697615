# ruff: noqa: E501  lines of HTML
"""HTML and XHTML by the rules of browsers: which encoding, and what is shown."""

import pytest

from worker.documents.formats.html import read_html, read_xhtml
from worker.documents.formats.limits import Refused
from worker.documents.formats.reading import read_bytes


def page(head: str, text: str, codec: str) -> bytes:
    return f"<html><head>{head}</head><body><p>{text}</p></body></html>".encode(codec)


@pytest.mark.parametrize(
    ("head", "text", "codec"),
    [
        ("<!-- <meta charset='windows-1251'> --><meta charset='utf-8'>", "It’s 5 €", "utf-8"),
        ("<meta charset='iso-8859-1'>", "It’s “fine” – 5 €", "cp1252"),
        ("<meta charset=us-ascii>", "café €", "cp1252"),
        ("<meta charset=latin1>", "café €", "cp1252"),
        ("<meta charset='iso-8859-9'>", "İş €", "cp1254"),
        ("<meta charset='tis-620'>", "ภาษา €", "cp874"),
        ("<meta charset='shift_jis'>", "第①章 髙橋", "cp932"),
        ("<meta charset='x-sjis'>", "第①章 髙橋", "cp932"),
        ("<meta charset='windows-31j'>", "第①章", "cp932"),
        ("<meta charset='euc-kr'>", "똠방각하", "cp949"),
        ("<meta charset='ks_c_5601-1987'>", "똠방각하", "cp949"),
        ("<meta charset='gb2312'>", "镕基 中文", "gb18030"),
        ("<meta charset='big5'>", "繁體中文", "big5hkscs"),
        ("<meta charset='euc-jp'>", "日本語", "euc-jp"),
        ("<meta charset='iso-2022-jp'>", "日本語", "iso-2022-jp"),
        ("<meta charset='koi8-r'>", "Привет", "koi8-r"),
        ("<meta charset='iso-8859-8-i'>", "שלום", "iso-8859-8"),
        ("<meta charset='utf-16'>", "naïve", "utf-8"),
        ("<meta charset='unicode'>", "naïve", "utf-8"),
        ("<meta charset='ucs-2'>", "naïve", "utf-8"),
        ("<meta charset='utf-7'>", "a +AOk- b", "utf-8"),
        ('<script>var a = "<meta charset=windows-1251>"</script>', "Grüße", "utf-8"),
        ("<style>/* <meta charset=koi8-r> */</style><title><meta charset=big5></title>", "Grüße", "utf-8"),
        ("<title/><script src='x'/><meta charset='windows-1251'/>", "Привет", "cp1251"),
        ("<meta charset='x-user-defined'>", "naïve", "cp1252"),
        ("<META CONTENT='text/html; charset=windows-1251' HTTP-EQUIV='content-type'>", "Привет", "cp1251"),
        ("<script>var a = '<b'</script><meta charset=windows-1251>", "Привет", "cp1251"),
        ("<script>var a = '<meta charset=koi8-r>'</script><meta charset=utf-8>", "It’s", "utf-8"),
        ("<meta name=description content='charset=koi8-r'><meta charset=windows-1251>", "Привет", "cp1251"),
        (
            "<title>x</title>" + "<link href=style.css>" * 200 + "<meta charset=windows-1251>",
            "Привет",
            "cp1251",
        ),
        ("<meta charset=nonsense>", "naïve", "utf-8"),
        ("", "naïve", "utf-8"),
    ],
)
def test_a_page_is_read_in_the_encoding_it_names_by_the_labels_of_browsers(
    head: str, text: str, codec: str
) -> None:
    assert read_html(page(head, text, codec), None)["text"] == f"{text}\n"


def test_a_mark_at_the_beginning_wins_over_the_page() -> None:
    head = "<meta charset=windows-1251>"
    for codec in ("utf-8-sig", "utf-16"):
        assert read_html(page(head, "naïve", codec), None)["text"] == "naïve\n"


def test_the_declaration_of_xml_names_the_encoding() -> None:
    text = '<?xml version="1.0" encoding="windows-1251"?><html><body><p>Привет</p></body></html>'

    for read in (read_html, read_xhtml):
        assert read(text.encode("cp1251"), None)["text"] == "Привет\n"


def test_a_page_that_is_not_in_the_encoding_it_names_is_refused_and_never_guessed() -> None:
    with pytest.raises(Refused) as refused:
        read_html(page("<meta charset=utf-8>", "배송이 일주일", "cp949"), None)

    assert "utf-8" in refused.value.message
    assert "--encoding" in refused.value.message


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        ("<p style='color: red; display:none'>no</p><p hidden>no</p><template>no</template><p>yes</p>", "yes"),
        ("<noscript>no</noscript><script>no</script><style>no</style><iframe>no</iframe><dialog>no</dialog>yes", "yes"),
        ("<p aria-hidden=true>yes</p>", "yes"),
        ("a<br>b &amp; &eacute; &shy;c&nbsp;d", "a\nb & é c d"),
        ("<ol start=3><li>c</li><li value=7>g</li></ol><ul><li><p>u</p></li></ul>", "3. c\n7. g\n\n- u"),
        ("<table><tr><th>a</th><td>b</td></tr><tr><td></td><td>d</td></tr></table>", "a | b\n | d"),
        ("See <a href='https://a.example/b'>the <b>offer</b> </a>now.", "See [the offer](https://a.example/b) now."),
        ("<a href='https://a.example'>https://a.example</a> <a href='#top'>up</a> <a href='javascript:x()'>do</a> <a>bare</a>",
         "https://a.example up do bare"),
        ("<a href='/offer'><h2>Offer</h2><p>250 EUR</p></a>", "## Offer\n\n250 EUR\n\n(/offer)"),
        ("Sales: <img src=chart.png alt='rise by  4 %'>.<img src=dot.png alt=''><img src=x.png>", "Sales: [image: rise by 4 %] ."),
        ("<a href='/home'><img src=logo.png alt=Home></a>", "[image: Home] (/home)"),
        ("<p hidden><a href='/no'>no</a></p><a href='/yes'>yes</a>", "[yes](/yes)"),
        ("<pre>a  b\n  c</pre><p>x   y</p>", "a  b\n  c\n\nx y"),
        ("<textarea>written</textarea><input value=typed><input type=hidden value=no><input type=checkbox checked>ok", "written typed [x] ok"),
        ("<ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp></ruby>", "漢(かん)"),
        ("<p>a<p>b<div>c", "a\n\nb\n\nc"),
        ("<svg><title>no</title><text>drawn</text></svg>", "drawn"),
    ],
)  # fmt: skip
def test_the_text_is_what_a_browser_shows(inner: str, text: str) -> None:
    assert read_html(f"<html><body>{inner}</body></html>".encode(), None)["text"] == f"{text}\n"


XHTML = (
    '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head>{}</head><body>{}</body></html>'
)


@pytest.mark.parametrize(
    ("head", "body", "text"),
    [
        ('<script src="x.js"/>', "<p>shown</p>", "shown"),
        ("<title/>", "<p>shown</p>", "shown"),
        ("", "<p>a</p><iframe src='v'/><p>b <textarea/>c</p><p>d</p>", "a\n\nb c\n\nd"),
        ("<style/>", "<p>a&nbsp;b &eacute; &amp;amp;</p>", "a b é &amp;"),
        ("", "<p><![CDATA[a < b &nbsp;]]></p>", "a < b &nbsp;"),
    ],
)
def test_xhtml_is_xml_where_tags_end_themselves(head: str, body: str, text: str) -> None:
    assert read_bytes(XHTML.format(head, body).encode(), "a.xhtml")["text"] == f"{text}\n"


def test_xhtml_that_is_not_well_formed_is_read_as_html() -> None:
    assert read_bytes(XHTML.format("", "<p>a<br>b").encode(), "a.xhtml")["text"] == "a\nb\n"


@pytest.mark.parametrize("tag", ["script src='x'", "title", "iframe", "textarea rows='2'", "div"])
def test_a_tag_that_ends_itself_swallows_nothing_where_xhtml_is_not_well_formed(tag: str) -> None:
    page = XHTML.format(f"<{tag}/>", f"<p>a & b</p><{tag}/><p>c</p>")

    assert read_bytes(page.encode(), "a.xhtml")["text"] == "a & b\n\nc\n"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            "<nav>Home</nav><main><p>Text.</p><footer>By Ada.</footer></main><footer>ACME</footer>",
            "Text.\n\nBy Ada.",
        ),
        ("<div role=navigation>Home</div><article>Text.</article><div role=contentinfo>ACME</div>", "Text."),
        ("<nav>Home</nav><p>Text.</p><footer>ACME</footer>", "Home\n\nText.\n\nACME"),
    ],
    ids=["main", "roles", "nothing says what is content"],
)
def test_navigation_and_footer_go_where_a_page_says_what_its_content_is(body: str, text: str) -> None:
    assert read_html(f"<body>{body}</body>".encode(), None)["text"].strip() == text
    xhtml = f'<html xmlns="http://www.w3.org/1999/xhtml"><body>{body}</body></html>'
    if "=n" not in body:
        assert read_xhtml(xhtml.encode(), None)["text"].strip() == text


def test_entities_that_a_page_declares_as_plain_texts_are_shown() -> None:
    page = """<!DOCTYPE html [<!ENTITY firm "ACME Ltd"> <!ENTITY far SYSTEM "file:///etc/hostname">]>
        <html xmlns="http://www.w3.org/1999/xhtml"><head><title/></head><body><p>&firm; &eacute;</p></body></html>"""

    assert read_xhtml(page.encode(), None)["text"] == "ACME Ltd é\n"


def test_a_page_that_declares_entities_does_not_unfold_them() -> None:
    bomb = '<!DOCTYPE html [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><html><body><p>&b;text</p></body></html>'

    assert "aaaa" not in read_xhtml(bomb.encode(), None)["text"].replace("aaaaaaaaaa", "", 1)


def test_many_comments_before_a_page_cost_no_time() -> None:
    text = "<!-- c -->\n" * 2000 + "<html><body><p>shown</p></body></html>"

    for page_text in (text, text.replace("<html>", "<!DOCTYPE html><html>"), text + "<!-- " * 20_000):
        assert read_xhtml(page_text.encode(), None)["text"] == "shown\n"


DECLARED = (
    "<?xml version='1.0' encoding='utf-8'?>\n<html xmlns='http://www.w3.org/1999/xhtml'>{}</html>",
    "<!DOCTYPE html PUBLIC '-//W3C//DTD XHTML 1.0 Strict//EN' 'http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd'><html>{}</html>",
    "<html xmlns='http://www.w3.org/1999/xhtml' lang='en'>{}</html>",
)


@pytest.mark.parametrize("declared", DECLARED)
@pytest.mark.parametrize("tag", ["<script src='x.js'/>", "<textarea/>", "<iframe src='a'/>", "<title/>"])
def test_html_that_says_it_is_xhtml_loses_nothing_behind_a_tag_that_ends_itself(
    declared: str, tag: str
) -> None:
    text = declared.format(
        f"<head><meta charset='utf-8'/></head><body><p>One&nbsp;é.</p>{tag}<p>Two.</p></body>"
    )

    assert read_bytes(text.encode(), "chapter.html")["text"].split() == ["One", "é.", "Two."]


def test_html_that_would_show_nothing_is_read_as_if_such_tags_ended_themselves() -> None:
    assert read_html(b"<html><head><title/></head><body><p>One<br>Two", None)["text"].split() == [
        "One",
        "Two",
    ]


def test_other_html_is_read_as_browsers_read_it() -> None:
    text = "<html><body><p>One.</p><script>var a = '<script src=\"x\"/>';</script><p>Two.</p></body></html>"

    assert read_html(text.encode(), None)["text"].split() == ["One.", "Two."]
