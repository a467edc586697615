"""The documentation site: built without a warning, every page in its place."""

import re
import subprocess
import sys
from pathlib import Path

from tests.repo.docs.pages import ROOT

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


def test_every_page_is_in_the_navigation_once() -> None:
    listed = re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)

    assert sorted(listed) == sorted(PAGES)
