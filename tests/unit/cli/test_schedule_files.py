"""What a YAML file says of schedules, and the line of what is wrong with it."""

from pathlib import Path

import pytest

from tests.repo.docs.pages import ROOT
from worker.cli.schedules.file import read_schedules
from worker.errors import InputRefused

ONE = "cron: 0 2 * * *\ndocuments: inbox/*\nprompt: '{{ document.text }}'\nmodel: qwen3\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "schedules.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_one_schedule_stands_alone_with_its_name(tmp_path: Path) -> None:
    file = written(tmp_path, f"name: zh\n{ONE}blackout: 2026-12-24\nwindow: 22:00-06:00\n")

    [(name, spec)] = read_schedules(file).items()

    assert name == "zh"
    assert spec.models == ("qwen3:latest",)
    assert spec.documents == (f"{tmp_path}/inbox/*",)
    assert (spec.blackout, spec.window) == (("2026-12-24",), ("22:00-06:00",))
    assert spec.file == str(file)


def test_several_stand_as_a_list_or_by_name(tmp_path: Path) -> None:
    inner = "".join(f"    {line}\n" for line in ONE.splitlines())

    by_name = read_schedules(written(tmp_path, f"schedules:\n  a:\n{inner}  b:\n{inner}"))
    listed = read_schedules(written(tmp_path, f"schedules:\n  - name: a\n{inner}  - name: b\n{inner}"))

    assert list(by_name) == list(listed) == ["a", "b"]
    assert by_name == listed


def test_the_example_can_be_read() -> None:
    [spec] = read_schedules(ROOT / "examples" / "nightly" / "schedules.yaml").values()

    assert spec.options == {"num_predict": 256}
    assert spec.max_failures == "50%"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"name: a\n{ONE}modle: b\n", ":6: unknown field 'modle'; did you mean models?"),
        (f"name: a\n{ONE}models: [b]\n", ":6: models says models again"),
        (f"name: a\n{ONE}cron: 1 2 * * *\n", ":6: cron stands there twice"),
        (f"name: a\n{ONE}tz: Mars\n", ":6: a: --tz 'Mars': no such time zone"),
        (f"name: a\n{ONE}overlap: never\n", ":6: a: overlap 'never': expected refuse, queue, allow"),
        (f"name: a\n{ONE}file: x\n", ":6: unknown field 'file'"),
        ("name: a\ndocuments: *.txt\n", ":2: no YAML"),
        (ONE, ":1: expected name"),
        ("schedules:\n  - 5\n", ":2: expected names and values"),
        ("schedules: {}\nother: 1\n", ":2: unknown 'other' beside schedules"),
        ("", "names no schedule"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputRefused) as refused:
        read_schedules(written(tmp_path, text))

    assert told in str(refused.value.problems[0])
