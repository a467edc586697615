"""What do readers of documents keep, and how long do they take? Caravan beside kreuzberg, markitdown and LibreOffice.

``python -m benchmarks.extraction --markitdown /path/to/python`` reads the planted corpus (``tests/corpus``) with each and prints
a table by kind of document: how many of the planted words that a program shows the reader kept, how many that no program shows
(deleted, hidden) it read all the same, and the seconds for all. Each tool runs in a process of its own whose start is not
counted, but for LibreOffice, which is called once for all documents. A tool that is not there is left out.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.made_documents import pdf_of
from worker.documents.bounded import Reader
from worker.documents.read import Document, read_all
from worker.documents.sources import find_documents

CORPUS = Path(__file__).parent.parent / "tests" / "corpus"
PAGES = 300
_KREUZBERG = """
from kreuzberg import ExtractionConfig, extract_file_sync
config = ExtractionConfig(use_cache=False, disable_ocr=True, output_format="markdown")
def read(path): return extract_file_sync(path, config=config).content
"""
_MARKITDOWN = """
from markitdown import MarkItDown
converter = MarkItDown()
def read(path): return converter.convert(path).text_content
"""
_LOOP = """
import json, sys, time
paths = json.loads(sys.stdin.readline())
for path in paths:
    begin = time.perf_counter()
    try: text = read(path)
    except BaseException as error: text = ""
    print(json.dumps([path, text, time.perf_counter() - begin]), file=sys.__stdout__, flush=True)
"""


@dataclass(frozen=True, slots=True)
class Read:
    """What a tool made of a document."""

    text: str
    seconds: float


def by_caravan(paths: Sequence[Path]) -> dict[str, Read]:
    read = {}
    with Reader() as reader:
        reader.read("first.txt", b"the child is started", "first.txt", None)
        for path in paths:
            [found] = find_documents([path.name], [path.parent])
            begin = time.perf_counter()
            texts = [one.text for one in read_all(found, reader=reader) if isinstance(one, Document)]
            read[path.name] = Read("\n".join(texts), time.perf_counter() - begin)
    return read


def by_python(python: str, code: str, paths: Sequence[Path]) -> dict[str, Read]:
    """Read by a library in another interpreter."""
    ended = subprocess.run(
        [python, "-c", f"import sys; sys.stdout = sys.stderr\n{code}{_LOOP}"],
        input=json.dumps([str(path) for path in paths]),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (json.loads(line) for line in ended.stdout.splitlines())
    return {Path(path).name: Read(text, seconds) for path, text, seconds in lines}


def by_libreoffice(command: str, paths: Sequence[Path]) -> dict[str, Read]:
    """Its own text of each document; the seconds are those of the whole call, in equal parts."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        read = {}
        for kind, filters in (("pdf", ["--infilter=writer_pdf_import"]), ("", [])):
            chosen = [str(path) for path in paths if (path.suffix == ".pdf") is (kind == "pdf")]
            if chosen:
                convert = [
                    *(command, "--headless", f"-env:UserInstallation=file://{folder}/profile", *filters),
                    *("--convert-to", "txt:Text (encoded):UTF8", "--outdir", f"{folder}/out{kind}", *chosen),
                ]
                subprocess.run(convert, capture_output=True, check=False)
            for name in chosen:
                text = Path(folder, f"out{kind}", f"{Path(name).stem}.txt")
                read[Path(name).name] = text.read_text("utf-8-sig") if text.exists() else ""
        each = (time.perf_counter() - begin) / max(1, len(paths))
    return {name: Read(text, each) for name, text in read.items()}


def planted() -> dict[str, Mapping[str, Sequence[str]]]:
    """The documents of the corpus with their words; LibreOffice cannot write two texts of one name, so names differ."""
    entries = json.loads((CORPUS / "planted.json").read_text())
    return {entry["file"]: entry for entry in entries if (CORPUS / "documents" / entry["file"]).exists()}


def table(read: Mapping[str, Mapping[str, Read]]) -> Iterator[str]:
    """A Markdown table: a line for each kind of document, a column for each tool."""
    kinds: dict[str, list[str]] = defaultdict(list)
    words = planted()
    for name in words:
        kinds[Path(name).suffix].append(name)
    yield f"| documents | {' | '.join(read)} |"
    yield f"|---|{'---|' * len(read)}"
    for kind, names in sorted(kinds.items()):
        cells = []
        for texts in read.values():
            shown = [word in texts[name].text for name in names for word in words[name]["shown"]]
            hidden = [word in texts[name].text for name in names for word in words[name]["hidden"]]
            seconds = sum(texts[name].seconds for name in names)
            cells.append(
                f"{sum(shown):,}/{len(shown):,} kept, {sum(hidden):,}/{len(hidden):,} hidden read, {seconds:.1f} s"
            )
        yield f"| {len(names)} `{kind}` | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--markitdown", metavar="PYTHON", help="an interpreter that has markitdown")
    parser.add_argument("--soffice", default=shutil.which("soffice"), help="LibreOffice")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name in planted():  # a name of its own for each, whatever its ending
            paths.append(Path(folder, f"{Path(name).stem}-{Path(name).suffix[1:]}{Path(name).suffix}"))
            shutil.copyfile(CORPUS / "documents" / name, paths[-1])
        long = Path(folder, "long.pdf")
        lines = "\n".join(f"Line {n} says some words that fill the line of a page." for n in range(45))
        long.write_bytes(pdf_of([lines] * PAGES))
        tools = {"Caravan": by_caravan([*paths, long])}
        tools["kreuzberg"] = by_python(sys.executable, _KREUZBERG, [*paths, long])
        if options.markitdown:
            tools["markitdown"] = by_python(options.markitdown, _MARKITDOWN, [*paths, long])
        if options.soffice:
            tools["LibreOffice"] = by_libreoffice(options.soffice, paths)
    renamed = {path.name: name for path, name in zip(paths, planted(), strict=True)}
    for line in table(
        {tool: {renamed.get(name, name): one for name, one in found.items()} for tool, found in tools.items()}
    ):
        print(line)
    seconds = ", ".join(
        f"{tool} {found['long.pdf'].seconds:.1f} s" for tool, found in tools.items() if "long.pdf" in found
    )
    print(f"\nA PDF of {PAGES} pages: {seconds}")


if __name__ == "__main__":
    main()
