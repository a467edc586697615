"""What a schedule says of reading its documents, and when that asks them again."""

from pathlib import Path
from typing import Any

import pytest

from worker.documents.read import Rules
from worker.errors import InputRefused
from worker.schedules.reading import reading_of
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


def test_no_command_of_a_schedule_is_run_where_commands_are_not_allowed(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"one")
    spec = spec_of(said(documents=["*.pdf"], extract=f"touch {tmp_path}/ran; cat"), base=tmp_path)
    allowed, refused = (reading_of(tmp_path / "home", commands=commands) for commands in (True, False))

    with pytest.raises(InputRefused, match="CARAVAN_NOTIFY_COMMANDS"):
        list(refused(spec))
    assert not (tmp_path / "ran").exists()

    [document] = allowed(spec)
    assert document.document is not None
    assert document.document.text == "one"
