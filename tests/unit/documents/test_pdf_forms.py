"""What a reader of PDF shows on top of a page: the values of forms, free text, and nothing that is hidden."""

import base64
import io
from pathlib import Path

import pytest

from tests.made_documents import pdf_with
from worker.documents.formats.limits import Refused
from worker.documents.formats.pdf import read_pdf, render_pages

TEXT = "/Subtype /Widget /FT /Tx /T (name) /Rect [250 710 500 732] /DA (/F1 14 Tf 0 g)"
BOX = "/Subtype /Widget /FT /Btn /T (agree) /Rect [250 650 262 662]"


def text_of(*annotations: str, label: str = "Applicant:") -> str:
    return str(read_pdf(pdf_with(label, annotations), None)["text"])


@pytest.mark.parametrize(
    ("annotations", "shown"),
    [
        ([f"{TEXT} /F 4 /V (FILLED)"], "Applicant: FILLED"),
        ([f"{TEXT} /F 4 /V (FILLED) /TU (Full name)"], "Full name: FILLED"),
        ([f"{TEXT} /F 4 /V <FEFF00E9006C00E9>"], "élé"),
        ([f"{BOX} /F 4 /V /Yes /AS /Yes /AP << /N << /Yes 5 0 R /Off 5 0 R >> >>"], "[x] agree"),
        (["/Subtype /Widget /FT /Ch /T (c) /F 4 /Rect [250 710 500 732] /Opt [[(k1) (Label one)] (b)] /V (k1)"], "Label one"),
        (["/Subtype /FreeText /F 4 /Rect [72 600 300 650] /Contents (FREE TEXT) /DA (/F1 12 Tf 0 g)"], "FREE TEXT"),
    ],
    ids=["text", "tooltip", "utf-16", "box", "choice", "free text"],
)  # fmt: skip
def test_what_was_filled_in_is_part_of_the_text(annotations: list[str], shown: str) -> None:
    assert shown in text_of(*annotations)


@pytest.mark.parametrize(
    "annotation",
    [
        f"{TEXT} /F 2 /V (SECRET)",
        f"{TEXT} /F 32 /V (SECRET)",
        f"{TEXT} /F 4 /Ff 8192 /V (SECRET)",
        "/Subtype /FreeText /F 2 /Rect [72 600 300 650] /Contents (SECRET) /DA (/F1 12 Tf 0 g)",
        "/Subtype /Text /F 4 /Rect [72 600 90 620] /Contents (SECRET)",
        "/Subtype /Link /F 4 /Rect [72 600 90 620] /Contents (SECRET)",
    ],
    ids=["hidden", "no view", "password", "hidden text", "sticky note", "link"],
)
def test_what_a_reader_does_not_show_is_left_out(annotation: str) -> None:
    assert "SECRET" not in text_of(annotation)


def test_a_form_whose_fields_are_its_only_text_has_text() -> None:
    assert text_of(f"{TEXT} /F 4 /V (FILLED)", label="") == "name: FILLED"


def test_an_empty_form_without_other_text_has_none() -> None:
    with pytest.raises(Refused) as refused:
        text_of(f"{TEXT} /F 4", f"{BOX} /F 4", label="")

    assert refused.value.code == "no_text"


@pytest.mark.parametrize("form", [True, False])
def test_the_picture_of_a_page_shows_what_lies_on_it(form: bool) -> None:
    from PIL import Image

    free = "/Subtype /FreeText /F 4 /Rect [72 600 300 650] /Contents (FREE) /DA (/F1 12 Tf 0 g) /AP << /N 6 0 R >>"
    annotations = [f"{TEXT} /F 4 /V (FILLED)"] if form else [free, "/Subtype /Link /Rect [1 1 9 9]"]
    [image] = render_pages(pdf_with("", annotations, form=form), 72, [1])

    page = Image.open(io.BytesIO(base64.b64decode(image))).convert("L")

    assert sum(page.histogram()[:128]) > 50


def test_the_corpus_has_pages_with_annotations_and_no_form() -> None:
    pdf = Path(__file__).parents[2] / "corpus" / "documents" / "report-00.pdf"

    assert render_pages(pdf.read_bytes(), 36, [1])
