"""Reads the documents: their text, their tables, their blocks of code and their links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
PAGES = (*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")))
"""Every page for people; a new page is checked without being named anywhere."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: where it opens, its language, and its lines."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def place(page: Path) -> str:
    """The page's path from the root of the repository, for messages."""
    return str(page.relative_to(ROOT))


def read(name: str) -> str:
    """The text of ``docs/NAME``."""
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(page: Path, *languages: str) -> Iterator[Block]:
    """The fenced blocks of ``page`` in one of ``languages``, or all of them."""
    opened: tuple[int, str] | None = None
    body: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.startswith("```"):
            body.append(line)
        elif opened is None:
            opened, body = (number, line.removeprefix("```").strip()), []
        else:
            if not languages or opened[1] in languages:
                yield Block(page, opened[0], opened[1], "\n".join(body))
            opened = None
    assert opened is None, f"{page.name}: the block of line {opened} is never closed"


def prose(page: Path) -> str:
    """The text of ``page`` without its fenced blocks."""
    return re.sub(
        r"^```.*?^```$",
        "",
        page.read_text(encoding="utf-8"),
        flags=re.MULTILINE | re.DOTALL,
    )


def inline_code(page: Path) -> Iterator[str]:
    """What stands between single backticks, outside of blocks, spaces and line ends as one space."""
    for found in re.finditer(r"`([^`]+)`", prose(page)):
        yield " ".join(found.group(1).split())


def links(page: Path) -> Iterator[str]:
    """The targets of the links of ``page``."""
    for found in re.finditer(r"\[[^\]]*\]\(([^)\s]+)\)", prose(page)):
        yield found.group(1)


def anchors(page: Path) -> set[str]:
    """The names that headings get on a rendered page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def blocks_of(language: str, *, containing: str = "") -> list[Block]:
    """The blocks of all pages in ``language`` that contain a text. Raises AssertionError where there is none."""
    matches = [block for page in PAGES for block in blocks(page, language) if containing in block.text]
    assert matches, f"no page has a {language} block that contains {containing!r}"
    return matches


def table(name: str) -> tuple[Path, str]:
    """The page that has the table of this name, and the table between its two marks."""
    tables = [
        (page, match.group(1)) for page in PAGES if (match := _table(name).search(page.read_text("utf-8")))
    ]
    assert len(tables) == 1, f"{len(tables)} pages have a table {name!r}, expected one"
    return tables[0]


def write_table(name: str, text: str) -> None:
    """Put ``text`` between the marks."""
    page, _ = table(name)
    marked = f"<!-- table: {name} -->\n{text}<!-- end of table -->"
    page.write_text(_table(name).sub(lambda _: marked, page.read_text("utf-8")), encoding="utf-8")


def _table(name: str) -> re.Pattern[str]:
    return re.compile(rf"<!-- table: {re.escape(name)} -->\n(.*?)<!-- end of table -->", re.DOTALL)
