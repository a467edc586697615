"""Links between the documents lead somewhere, and the paths that they name are there."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.repo.docs.pages import PAGES, ROOT, anchors, inline_code, links, place

SOURCE = re.compile(
    r"(?:worker|api_schemas|simulator|caravan|migrations|tests|examples|benchmarks|docs)/[\w./]*"
)


def _local_links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for link in links(page):
            if not link.startswith(("http://", "https://", "mailto:")):
                yield page, link


def _problem(page: Path, link: str) -> str | None:
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    if not target.exists():
        return "no such file"
    if anchor and anchor not in anchors(target):
        return "no such heading"
    return None


def test_every_link_to_a_file_or_a_heading_resolves() -> None:
    checked = {(page, link): _problem(page, link) for page, link in _local_links()}

    assert checked
    assert [f"{place(page)}: {link}: {why}" for (page, link), why in checked.items() if why] == []


def test_a_link_that_leads_nowhere_is_noticed() -> None:
    assert _problem(ROOT / "README.md", "docs/no_such_page.md") == "no such file"
    assert _problem(ROOT / "README.md", "CHANGELOG.md#no-such-heading") == "no such heading"


def test_every_path_of_the_source_that_is_named_exists() -> None:
    named = [(page, code) for page in PAGES for code in inline_code(page) if SOURCE.fullmatch(code)]

    assert named
    assert [f"{place(page)}: {code}" for page, code in named if not (ROOT / code).exists()] == []
