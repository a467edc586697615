"""What a schedule says of reading its documents, and when that asks them again."""

from pathlib import Path
from typing import Any

import pytest

from worker.documents.read import Rules
from worker.errors import InputRefused
from worker.schedules.spec import asking_of, rules_of, spec_of


def said(**more: Any) -> dict[str, Any]:
    return {
        "cron": "0 2 * * *",
        "documents": ["/data/*.pdf"],
        "prompt": "{{ document.text }}",
        "models": ["m:1"],
        **more,
    }


def test_scans_and_the_extractor_decide_how_documents_are_read_and_only_what_changes_answers_asks_again() -> (
    None
):
    plain, refuse, images, extract = (
        spec_of(said(**more), base=Path("/data"))
        for more in ({}, {"scans": "refuse"}, {"scans": "images"}, {"extract": "ocr {}"})
    )

    assert rules_of(images) == Rules(scans="images")
    assert rules_of(extract) == Rules(extract="ocr {}")
    assert asking_of(refuse).plain == asking_of(plain).plain
    assert asking_of(images).plain != asking_of(plain).plain != asking_of(extract).plain


@pytest.mark.parametrize(
    "more",
    [
        {"scans": "ask"},
        {"pages_as_images": True, "scans": "images"},
        {"pages_as_images": True, "extract": "x"},
    ],
)
def test_rules_that_contradict_each_other_or_are_unknown_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(InputRefused):
        spec_of(said(**more), base=Path("/data"))
