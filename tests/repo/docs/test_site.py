"""The documentation site: built without a warning, every page in its place."""

import importlib
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.repo.docs.pages import ROOT, Block, blocks_of

sys.path.append(str(ROOT / "docs"))
diagrams = importlib.import_module("diagrams")

DIAGRAMS = list(blocks_of("mermaid"))
SVG = "{http://www.w3.org/2000/svg}"
SHAPES = {"svg", "title", "style", "defs", "marker", "rect", "text", "line", "path", "circle"}
PAGES = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}


def test_the_site_is_built_without_warnings_and_lists_every_page_for_machines(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    listed = re.findall(
        r"^- \[[^\]]+\]\(([\w/]+\.md)\): \S", (tmp_path / "site/llms.txt").read_text(), re.MULTILINE
    )
    assert sorted(listed) == sorted(PAGES)
    assert all((tmp_path / "site" / page).is_file() for page in PAGES)
    built = [page.read_text(encoding="utf-8") for page in (tmp_path / "site").rglob("*.html")]
    assert sum(page.count('role="img"') for page in built) == len(DIAGRAMS)
    assert not any('class="mermaid"' in page for page in built)


def test_every_page_is_in_the_navigation_once() -> None:
    listed = re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)

    assert sorted(listed) == sorted(PAGES)


@pytest.mark.parametrize("diagram", DIAGRAMS, ids=lambda diagram: diagram.place)
def test_diagrams_become_pictures_that_need_no_script_and_no_network(diagram: Block) -> None:
    picture = ElementTree.fromstring(diagrams.draw(diagram.text))

    assert {element.tag.partition("}")[2] for element in picture.iter()} <= SHAPES
    width, height = map(float, picture.attrib["viewBox"].split()[2:])
    assert width < 600
    for element in picture.iter(SVG + "rect"):
        assert 0 <= float(element.attrib["x"]) <= width - float(element.attrib["width"])
        assert 0 <= float(element.attrib["y"]) <= height - float(element.attrib["height"])


def test_a_chart_has_a_row_for_each_verb_with_its_states() -> None:
    picture = ElementTree.fromstring(
        diagrams.draw("stateDiagram-v2\n[*] --> a: make\na --> b: end\nc --> b: end\nb --> [*]")
    )

    assert [text.text for text in picture.iter(SVG + "text")] == ["start", "a", "c", "b", "make", "end"]
    assert len(list(picture.iter(SVG + "circle"))) == 3
    assert len([path for path in picture.iter(SVG + "path") if path.attrib["class"] == "mark"]) == 2


def test_a_line_that_is_not_understood_is_named() -> None:
    with pytest.raises(diagrams.DiagramError, match="not understood: a => b"):
        diagrams.draw("flowchart LR\na => b")
    with pytest.raises(diagrams.DiagramError, match="only stateDiagram and flowchart"):
        diagrams.draw("pie\n")
