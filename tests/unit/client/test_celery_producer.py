"""What ``caravan.celery`` sends, and what it makes of the answers; a real fleet is in the acceptance tests."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from api_schemas.submit_message import SubmitAnswer, SubmitMessage, read_message
from caravan import celery as module
from caravan.celery import SubmissionRefused, submit

BROKER = "redis://127.0.0.1:1/0"


class Fleet:
    """Takes messages in place of the broker and ``caravan control``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.messages: list[SubmitMessage] = []
        self.answer: SubmitAnswer | None = None
        self.unanswered = 0
        self.most_unanswered = 0
        self.waits: list[float] = []
        monkeypatch.setattr(module, "_broker", lambda _: self)

    def send(self, arguments: dict[str, Any]) -> str:
        message = read_message(arguments)
        assert isinstance(message, SubmitMessage), message
        self.messages.append(message)
        self.unanswered += 1
        self.most_unanswered = max(self.most_unanswered, self.unanswered)
        return str(len(self.messages) - 1)

    def wait(self, message_id: str, timeout: float) -> dict[str, Any] | None:
        self.unanswered -= 1
        self.waits.append(timeout)
        if self.answer is None:
            return None
        message = self.messages[int(message_id)]
        if message.part is not None and message.parts is None:
            return SubmitAnswer(part=message.part).model_dump()
        return self.answer.model_copy(update={"key": message.key}).model_dump()


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    found = Fleet(monkeypatch)
    found.answer = SubmitAnswer(batch=7, state="open", jobs=3, created=True)
    return found


def send(jobs: Any, **more: Any) -> SubmitAnswer:
    return submit(jobs, broker_url=BROKER, **more)


class Mood(BaseModel):
    mood: str


def test_a_small_input_is_one_message_with_all_that_holds_for_its_jobs(fleet: Fleet) -> None:
    answer = send(
        ["Say it.", {"custom_id": "b", "prompt": "x"}], key="k", model="m:1", options={"seed": 1}, format=Mood
    )

    [message] = fleet.messages
    assert (answer.batch, answer.key) == (7, "k")
    assert message.jobs == [{"prompt": "Say it."}, {"custom_id": "b", "prompt": "x"}]
    assert message.submission["models"] == ["m:1"]
    assert message.submission["options"] == {"seed": 1}
    assert message.submission["format"] == Mood.model_json_schema()
    assert message.upload is None


def test_a_generator_of_any_length_goes_in_parts_of_which_few_are_under_way(fleet: Fleet) -> None:
    read = Counter[str]()

    def rows() -> Iterator[str]:
        for n in range(10_500):
            read["rows"] += 1
            assert read["rows"] <= (len(fleet.messages) + 2) * 1000
            yield f"Say {n}."

    send(rows(), key="k")

    assert [len(message.jobs) for message in fleet.messages] == [1000] * 10 + [500]
    assert [message.part for message in fleet.messages] == list(range(1, 12))
    assert [message.parts for message in fleet.messages] == [None] * 10 + [11]
    assert [message.key for message in fleet.messages] == [None] * 10 + ["k"]
    assert len({message.upload for message in fleet.messages}) == 1
    assert fleet.most_unanswered == module.IN_FLIGHT
    assert fleet.waits[-1] == 60 + 11


def test_an_input_of_exactly_one_message_is_one(fleet: Fleet) -> None:
    send(["x"] * 1000)

    assert [len(message.jobs) for message in fleet.messages] == [1000]


def test_without_a_key_the_same_call_has_the_same_one(fleet: Fleet) -> None:
    for jobs, model in ((["a", "b"], "m:1"), (["a", "b"], "m:1"), (["a", "c"], "m:1"), (["a", "b"], "m:2")):
        send(jobs, model=model)

    first, same, other_jobs, other_model = (message.key for message in fleet.messages)
    assert first == same
    assert len({first, other_jobs, other_model}) == 3


def test_a_refusal_is_raised_with_its_lines(fleet: Fleet) -> None:
    problem = {"line": 2, "field": "promt", "code": "unknown_field", "message": "promt: unknown field"}
    fleet.answer = SubmitAnswer.model_validate(
        {"batch": 8, "state": "refused", "problems": [problem], "more_problems": 4}
    )

    with pytest.raises(SubmissionRefused, match=r"line 2: promt: unknown field; and 4 more") as caught:
        send(["a"])

    assert (caught.value.batch, caught.value.problems[0].line) == (8, 2)


def test_what_is_wrong_with_the_call_itself_sends_nothing(fleet: Fleet) -> None:
    with pytest.raises(SubmissionRefused, match=r"optoins: unknown field\. Did you mean options"):
        send(["a"], optoins={})
    with pytest.raises(SubmissionRefused, match=r"line 2: .*int"):
        send(["a", 7])
    with pytest.raises(SubmissionRefused, match=r"line 1: cannot be written as JSON"):
        send([{"prompt": "x", "metadata": {"a": object()}}])
    with pytest.raises(TypeError, match="got one str"):
        send("a")

    assert fleet.messages == []


def test_nobody_who_answers_is_a_timeout_and_a_database_that_is_away_a_lost_connection(fleet: Fleet) -> None:
    fleet.answer = SubmitAnswer(unavailable="the database is away")
    with pytest.raises(ConnectionError, match="the database is away"):
        send(["a"])
    fleet.answer = None
    with pytest.raises(TimeoutError, match="does caravan control run"):
        send(["a"], timeout=1)


def test_a_broker_that_cannot_be_reached_is_a_lost_connection() -> None:
    with pytest.raises(ConnectionError, match="the broker cannot be reached"):
        send(["a"])


def test_no_broker_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CARAVAN_BROKER_URL", raising=False)
    with pytest.raises(ValueError, match="give broker_url, or set CARAVAN_BROKER_URL"):
        submit(["a"])


def test_the_module_brings_neither_storage_nor_the_application(tmp_path: Any) -> None:
    (tmp_path / "worker.py").write_text("raise ImportError('the module of the project')")
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "import caravan.celery\n"
        "print([name for name in sys.modules if name.partition('.')[0] in "
        "('sqlalchemy', 'alembic', 'worker', 'psycopg', 'jinja2')])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
