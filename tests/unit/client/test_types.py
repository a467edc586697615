"""A user's program that is typed checks with ``mypy --strict``, and one that is wrong does not."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo.docs.pages import ROOT

PROGRAM = """
import pandas
from pydantic import BaseModel

from caravan import BatchHandle, BatchProgress, Caravan, Conflict, InputRefused
from caravan.celery import SubmitAnswer, SubmissionRefused, submit


class Mood(BaseModel):
    mood: str


def heard(progress: BatchProgress) -> None:
    print(progress.done, progress.total)


def main() -> list[str]:
    with Caravan(home="answers") as caravan:
        try:
            batch: BatchHandle = caravan.run(
                ({"prompt": f"Judge {n}."} for n in range(3)), hosts=["http://gpu-1:11434"], model="m:1",
                format=Mood, callback=heard, progress_bar=True,
            )
        except (InputRefused, Conflict) as error:
            return [str(error)]
        table: pandas.DataFrame = batch.to_dataframe()
        print(len(table), batch.wait(timeout=5).batch.state)
        return [line["custom_id"] for line in batch.results(states={"succeeded"})]


def produce() -> int | None:
    try:
        answer: SubmitAnswer = submit(["a"], key="k", model=["m:1", "m:2"], options={"seed": 1}, deadline=None)
    except SubmissionRefused as error:
        return error.problems[0].line
    return answer.batch
"""
WRONG = """
from caravan import Caravan
from caravan.celery import submit

with Caravan() as caravan:
    caravan.submit(["x"], modle="m:1")
    caravan.run(["x"], slots="four")
submit(["x"], prioritty="high")
"""


@pytest.mark.timeout(300)
def test_a_typed_program_is_checked_and_a_wrong_argument_is_found(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right.py", tmp_path / "wrong.py"
    right.write_text(PROGRAM)
    wrong.write_text(WRONG)

    # as strict as our own code, and by its configuration: what `make lint` found of the packages is not found again
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", str(right), str(wrong)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    found = done.stdout + done.stderr
    assert "right.py" not in found
    assert 'Unexpected keyword argument "modle"' in found
    assert 'Argument "slots" to "run"' in found
    assert 'Unexpected keyword argument "prioritty"' in found


@pytest.mark.parametrize("package", ["caravan", "worker", "api_schemas"])
def test_every_package_whose_types_a_user_meets_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
