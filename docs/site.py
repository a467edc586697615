"""What the site needs beyond the pages: links out of the folder, and ``llms.txt``."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

_OUTSIDE = re.compile(r"(!?)\[([^\]]*)\]\((?:\.\./|systemd)([^)\s]*)\)")
"""A link from a page to a file of the repository that is no page."""
_PICTURES = ("benchmarks/scheduling.svg",)


def on_files(files: Files, config: Any) -> Files:
    """Add the pictures that pages show and that lie elsewhere."""
    root = Path(config["docs_dir"]).parent
    for picture in _PICTURES:
        files.append(File.generated(config, picture, abs_src_path=str(root / picture)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Name the file where a page links to one that is not on the site."""

    def named(match: re.Match[str]) -> str:
        mark, words, path = match.groups()
        if mark:
            return f"![{words}]({path})"
        return words if path in words or not path else f"{words} (`{path}`)"

    return _OUTSIDE.sub(named, markdown)


def on_post_build(config: Any) -> None:
    """Write ``llms.txt``: every page with its first paragraph, and the pages themselves as Markdown."""
    docs, site = Path(config["docs_dir"]), Path(config["site_dir"])
    lines = [f"# {config['site_name']}", "", f"> {config['site_description']}", ""]
    for section in config["nav"]:
        for heading, pages in section.items():
            lines += [f"## {heading}", ""]
            for page in pages:
                for title, name in page.items():
                    text = (docs / name).read_text(encoding="utf-8")
                    lines.append(f"- [{title}]({name}): {_first_paragraph(text)}")
                    (site / name).write_text(text, encoding="utf-8")
            lines.append("")
    (site / "llms.txt").write_text("\n".join(lines), encoding="utf-8")


def _first_paragraph(text: str) -> str:
    """The first paragraph of prose, on one line, without links."""
    paragraphs = (part.strip() for part in text.split("\n\n")[1:])
    first = next((part for part in paragraphs if part[:1].isalpha()), "")
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", " ".join(first.split()))
