"""Links between the documents lead somewhere."""

import re
from pathlib import Path

import pytest

from tests.repo.docs.pages import DOCS, PAGES, ROOT, anchors, inline_code, links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_or_a_heading_resolves(page: Path) -> None:
    for link in links(page):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_of_the_source_that_is_named_exists(page: Path) -> None:
    rooms = r"(?:worker|api_schemas|simulator|caravan|migrations|tests|examples|benchmarks|docs)/"

    named = {code for code in inline_code(page) if re.fullmatch(rf"{rooms}[\w./]*", code)}

    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_readme_leads_to_every_page() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links(ROOT / "README.md")}

    assert {page.name for page in DOCS.glob("*.md") if page.resolve() not in linked} == set()
