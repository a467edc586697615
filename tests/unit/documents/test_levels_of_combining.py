"""A long document in parts, and the levels in which their answers become one."""

import pytest

from worker.documents import split as splitting
from worker.documents.read import Document
from worker.documents.split import split
from worker.documents.templates import prompt_text
from worker.door.document_lines import Templates, Window, combinations, job_lines
from worker.policy.context_window import weight as weight_of

COMBINE = "{% for part in parts %}{{ part.answer }}\n{% endfor %}Sum up."


def document(text: str) -> Document:
    return Document("book.md", "/in/book.md", text, None, {}, "text/markdown", "0" * 64, None)


def parts(count: int) -> list[dict[str, object]]:
    place = {"start": 0, "end": 9, "pages": [1, 2], "headings": ["One"]}
    return [
        {"custom_id": f"book.md#part-{n}", "metadata": {"part": {"number": n, **place}}}
        for n in range(1, count + 1)
    ]


@pytest.mark.parametrize(
    ("count", "fitting", "levels"),
    [(4, 4, []), (5, 4, [2]), (16, 4, [4]), (17, 4, [5, 2]), (220, 8, [28, 4]), (220, 4, [55, 14, 4])],
)
def test_as_many_levels_are_made_as_keep_every_prompt_within_its_bound(
    count: int, fitting: int, levels: list[int]
) -> None:
    lines = list(combinations(document("text"), parts(count), COMBINE, fitting))

    made = [line["metadata"]["part"]["level"] for line in lines[:-1]]
    assert [made.count(level) for level in sorted(set(made))] == levels
    assert max(len(line["after"]) for line in lines) <= fitting
    assert lines[-1]["custom_id"] == "book.md"
    assert "part" not in lines[-1]["metadata"]


def test_each_answer_is_combined_exactly_once_and_in_its_order() -> None:
    first = parts(37)
    lines = list(combinations(document("text"), first, COMBINE, 4))

    combined = [name for line in lines for name in line["after"]]
    made = [line["custom_id"] for line in lines]
    assert combined == [*(one["custom_id"] for one in first), *made[:-1]]
    assert len(set(made)) == len(made)


def test_a_combination_says_which_stretch_of_the_document_it_tells_of() -> None:
    text = "\n\n".join(f"# Chapter {n}\n\n" + "A sentence of this chapter. " * 90 for n in range(40))
    templates = Templates(prompt_text("{{ document.text }}", source="--prompt"), combine=COMBINE)

    lines = job_lines(document(text), templates, Window(2000, 200), long="split")
    places = {line["custom_id"]: line["metadata"].get("part") for line in lines}

    assert "book.md#combined-1-1" in places
    for line in lines:
        if line.get("after") and line["metadata"].get("part"):
            about = line["metadata"]["part"]
            assert about["start"] == places[line["after"][0]]["start"]
            assert about["end"] == places[line["after"][-1]]["end"]
            assert about["number"] <= about["of"]


@pytest.mark.parametrize(
    "unit", ["word ", "x", "A short sentence. ", "A line\n", "# H\n\nText.\n\n", "夜深了。", "```\na\n```\n"]
)
def test_splitting_weighs_each_character_a_bounded_number_of_times(
    unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weighed = 0

    def weight(text: str) -> tuple[int, int]:
        nonlocal weighed
        weighed += len(text)
        return weight_of(text)

    monkeypatch.setattr(splitting, "weight", weight)
    sizes = []
    for size in (100_000, 400_000):
        weighed = 0
        assert "".join(part.text for part in split(unit * (size // len(unit)), 3000)) == unit * (
            size // len(unit)
        )
        sizes.append(weighed / size)

    assert sizes[1] < 8
    assert sizes[1] < 1.5 * max(sizes[0], 0.1)
