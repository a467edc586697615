"""The Chinese README says what the English one says: the same commands in the same order, the same links."""

from pathlib import Path

from tests.repo.docs.pages import ROOT, blocks, links

ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"


def typed(page: Path) -> list[str]:
    return [block.text for block in blocks(page)]


def led_to(page: Path) -> set[str]:
    return {link for link in links(page) if not link.startswith("README")}


def test_both_show_the_same_blocks_in_the_same_order() -> None:
    assert typed(CHINESE) == typed(ENGLISH)


def test_both_lead_to_the_same_pages_and_to_each_other() -> None:
    assert led_to(CHINESE) == led_to(ENGLISH)
    assert "README.md" in set(links(CHINESE))
    assert "README.zh-CN.md" in set(links(ENGLISH))


def test_both_have_as_many_sections() -> None:
    def sections(page: Path) -> int:
        return page.read_text(encoding="utf-8").count("\n## ")

    assert sections(CHINESE) == sections(ENGLISH)
