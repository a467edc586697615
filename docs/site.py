"""What the site needs beyond the pages: links out of the folder, diagrams as SVG, and ``llms.txt``."""

import posixpath
import re
from pathlib import Path
from typing import Any

import diagrams
from mkdocs.structure.files import File, Files

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s:#]+)\)")
_DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LEGEND = "A row leads from each state with a dot to the state at its arrow."
_PICTURES = ("benchmarks/scheduling.svg",)
"""Pictures that pages show and that lie elsewhere in the repository."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pictures that lie elsewhere."""
    root = Path(config["docs_dir"]).parent
    for picture in _PICTURES:
        files.append(File.generated(config, picture, abs_src_path=str(root / picture)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Draw the diagrams, and name the file where a page links to one that is not on the site."""
    folder = posixpath.dirname(page.file.src_uri)

    def named(match: re.Match[str]) -> str:
        mark, words, link = match.groups()
        path = posixpath.normpath(posixpath.join("docs", folder, link))
        if mark:
            return (
                match[0]
                if path.startswith("docs/")
                else f"![{words}]({posixpath.relpath(path, folder or '.')})"
            )
        if path.startswith("docs/") and link.endswith((".md", ".json", ".svg")):
            return match[0]
        return words if path in words else f"{words} (`{path}`)"

    return _LINK.sub(named, _DIAGRAM.sub(_drawn, markdown))


def _drawn(match: re.Match[str]) -> str:
    picture = f"<div>\n{diagrams.draw(match[1])}\n</div>"
    return f"{picture}\n\n{_LEGEND}" if match[1].startswith("stateDiagram") else picture


def on_post_build(config: Any) -> None:
    """Write ``llms.txt``: every page with its first paragraph, and the pages themselves as Markdown."""
    docs, site = Path(config["docs_dir"]), Path(config["site_dir"])
    lines = [f"# {config['site_name']}", "", f"> {config['site_description']}", ""]
    for section in config["nav"]:
        for heading, pages in section.items():
            lines += [f"## {heading}", ""]
            for page in [{heading: pages}] if isinstance(pages, str) else pages:
                for title, name in page.items():
                    text = (docs / name).read_text(encoding="utf-8")
                    lines.append(f"- [{title}]({name}): {_first_paragraph(text)}")
                    (site / name).write_text(text, encoding="utf-8")
            lines.append("")
    (site / "llms.txt").write_text("\n".join(lines), encoding="utf-8")


def _first_paragraph(text: str) -> str:
    """The first paragraph of prose, on one line, without links."""
    paragraphs = (part.strip() for part in text.split("\n\n")[1:])
    first = next((part for part in paragraphs if part[:1].isalpha() or part[:1] == "`"), "")
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", " ".join(first.split()))
