"""What do the documents say? Their text, their tables, their blocks of code and their links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md")))


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


def table(page: str, name: str) -> str:
    """The table between its two marks in ``docs/PAGE``."""
    found = _table(page, name).search(read(page))
    assert found, f"docs/{page} has no table {name!r}"
    return found.group(1)


def write_table(page: str, name: str, text: str) -> None:
    """Put ``text`` between the marks."""
    path = DOCS / page
    path.write_text(
        _table(page, name).sub(lambda _: _marked(name, text), read(page)),
        encoding="utf-8",
    )


def _marked(name: str, text: str) -> str:
    return f"<!-- table: {name} -->\n{text}<!-- end of table -->"


def _table(page: str, name: str) -> re.Pattern[str]:
    return re.compile(rf"<!-- table: {re.escape(name)} -->\n(.*?)<!-- end of table -->", re.DOTALL)
