"""What does a night cost on which no document changed?

``python -m benchmarks.quiet`` makes 500 documents of several kinds (200 MB), and then 40 PDFs of 300 pages. Each time a
schedule reads them twice, and the second night is measured: CPU of the process and of the child that reads. On SQLite, for
a minute or two. With ``--check`` it exits 1 where a target is missed.
"""

import argparse
import io
import os
import resource
import sys
import tempfile
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.clocks import FakeClock
from tests.integration.schedules.nights import Nights
from tests.made_documents import docx_of, pdf_of
from worker.policy.schedules import fire_times
from worker.policy.zones import zone_of
from worker.schedules.reading import reading_of
from worker.storage.engine import open_database
from worker.storage.migrate import upgrade

MIXED_SECONDS, PDF_SECONDS = 3.0, 1.0
"""CPU of the second night, at most."""
MIXED, MIXED_BYTES = 500, 200_000_000
PDFS, PAGES = 40, 300
CRON, ZONE = "0 2 * * *", "Europe/Berlin"
SENTENCE = "The committee of 2026 met in room {n} and put the decision of part {part} off to the spring. "


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit 1 where a target is missed")
    options = parser.parse_args()
    missed = False
    for name, make, limit in (
        (f"{MIXED} mixed documents, {MIXED_BYTES // 10**6} MB", mixed, MIXED_SECONDS),
        (f"{PDFS} PDFs of {PAGES} pages", pdfs, PDF_SECONDS),
    ):
        with tempfile.TemporaryDirectory(prefix="caravan-quiet-") as scratch:
            first, second = nights(Path(scratch), make)
        missed = missed or second > limit
        print(f"{name}: {first:.2f} s of CPU the first night, {second:.2f} s the second, at most {limit:g} s")
    return 1 if missed and options.check else 0


def nights(folder: Path, make: Callable[[Path], None]) -> tuple[float, float]:
    """Seconds of CPU of a night on which all is new, and of the next, on which nothing is."""
    url = f"sqlite:///{folder / 'caravan.db'}"
    upgrade(url)
    database = open_database(url)
    try:
        night = Nights(database, FakeClock(datetime(2026, 11, 1, 12, tzinfo=UTC)), folder / "work")
        make(folder / "work" / "inbox")
        night.schedule(cron=CRON, tz=ZONE, documents=["inbox/*"])
        reading = reading_of(folder, commands=False)
        times = fire_times(CRON, zone_of(ZONE), after=night.clock.now())
        spent = []
        for _ in range(2):
            night.until(next(times))
            night.tick()
            before = cpu()
            night.work(reading=reading)
            spent.append(cpu() - before)
            night.answer(100_000)
            night.settle()
        report = night.report()
        if report["reused"] != report["matches"]:
            raise SystemExit(f"the second night was not quiet: {report['reused']} of {report['matches']}")
        return spent[0], spent[1]
    finally:
        database.close()


def cpu() -> float:
    """Seconds of this process and of its children that ended."""
    times = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in times)


def mixed(folder: Path) -> None:
    """A fifth each of PDF, Word, HTML, Markdown and plain text; pictures make the first two large."""
    of_each = MIXED // 5
    picture = (MIXED_BYTES - of_each * 50_000) // (2 * of_each)
    for n in range(of_each):
        words = "\n\n".join(SENTENCE.format(n=n, part=part) * 5 for part in range(6))
        (folder / f"p{n}.pdf").write_bytes(with_picture(pdf_of([words[:1000]] * 10), picture))
        (folder / f"w{n}.docx").write_bytes(with_media(docx_of(f"Part {n}", words.split("\n\n")), picture))
        filling = f"<!-- {'x' * 46_000} -->"
        (folder / f"h{n}.html").write_text(f"<title>{n}</title>{filling}<p>{words}</p>")
        (folder / f"m{n}.md").write_text(f"# {n}\n\n{words}\n")
        (folder / f"t{n}.txt").write_text(f"{words}\n")


def pdfs(folder: Path) -> None:
    for n in range(PDFS):
        pages = [f"Report {n}, part {page}, met in spring." for page in range(PAGES)]
        (folder / f"report{n}.pdf").write_bytes(pdf_of(pages))


def with_picture(pdf: bytes, size: int) -> bytes:
    """The PDF with an attachment that no reader reads."""
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf)))
    writer.add_attachment("picture.bin", os.urandom(size))
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def with_media(docx: bytes, size: int) -> bytes:
    out = io.BytesIO(docx)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("word/media/image1.png", os.urandom(size))
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main())
