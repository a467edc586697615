"""Chats through a whole run: beside prompts on one runner, one going on from another, with tools."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

import simulator
from api_schemas.jobs import JobDefaults
from api_schemas.submissions import Submission
from simulator import Fault
from tests.door import submit_file
from tests.integration.serving.test_serve import MODELS, TENTH, add, counts, serve, simulated, submit
from worker.clock import Clock
from worker.domain.hosts import Host
from worker.domain.jobs import JobState
from worker.domain.selection import Selection
from worker.errors import Code, InputRefused
from worker.exports.results import result_lines
from worker.ollama.client import Call, OllamaHost
from worker.replies.stream import Reader
from worker.serving.loop import serve_host
from worker.serving.session import ServingContext
from worker.storage.engine import Database

T = TypeVar("T")
CALL = {"function": {"name": "get_weather", "arguments": {"city": "Porto"}}}


class Listened(OllamaHost):
    """A host whose chats are kept; where tools are offered, it calls the first of them."""

    def __init__(self, host: Host) -> None:
        super().__init__(host.url, slots=host.slots)
        self.chats: list[Mapping[str, Any]] = []

    def ask(
        self, path: str, body: Mapping[str, Any], reader: Reader[T], call: Call | None = None, **more: Any
    ) -> T:
        if path == "/api/chat":
            self.chats.append(body)
            if "tools" in body:
                return self._called(reader)
        return super().ask(path, body, reader, call, **more)

    @staticmethod
    def _called(reader: Reader[T]) -> T:
        line = (
            b'{"message": {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "get_weather", '
            b'"arguments": {"city": "Porto"}}}]}, "done": true, "done_reason": "stop", "eval_count": 9}\n'
        )
        found = reader.feed(line)
        assert found is not None
        return found


def listen(database: Database, clock: Clock, host: Host) -> Listened:
    gpu = Listened(host)
    try:
        serve_host(ServingContext(database, host, gpu, clock, timings=TENTH))
    finally:
        gpu.close()
    return gpu


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def test_chats_and_prompts_of_a_model_share_its_runner(database: Database, clock: Clock) -> None:
    lines: list[dict[str, Any]] = [
        {
            "model": MODELS[n // 20],
            **({"messages": [user(f"Say {n}.")]} if n % 2 else {"prompt": f"Say {n}."}),
        }
        for n in range(40)
    ]
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, lines)

        served = serve(database, clock, host)

    assert (served.jobs, served.loads) == (40, 2)
    assert counts(database, batch) == {JobState.SUCCEEDED: 40}
    assert all(line["answer"] for line in result_lines(database, Selection(batch.id)))


def test_a_chat_that_follows_others_has_all_their_turns_before_its_own(
    database: Database, clock: Clock
) -> None:
    model = MODELS[0]
    lines: list[dict[str, Any]] = [
        {"custom_id": "first", "model": model, "prompt": "Name a river.", "system": "Be brief."},
        {"custom_id": "second", "model": model, "messages": [user("And its source?")], "after": "first"},
        {"custom_id": "third", "model": model, "messages": [user("And its mouth?")], "after": "second"},
    ]
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, lines)
        gpu = listen(database, clock, host)

    answers = {line["custom_id"]: line["answer"] for line in result_lines(database, Selection(batch.id))}
    assert counts(database, batch) == {JobState.SUCCEEDED: 3}
    assert gpu.chats[-1]["messages"] == [
        {"role": "system", "content": "Be brief."},
        user("Name a river."),
        {"role": "assistant", "content": answers["first"]},
        user("And its source?"),
        {"role": "assistant", "content": answers["second"]},
        user("And its mouth?"),
    ]


def test_a_chat_goes_on_from_the_answer_of_another_model(database: Database, clock: Clock) -> None:
    lines: list[dict[str, Any]] = [
        {"custom_id": "first", "model": MODELS[0], "prompt": "Name a river."},
        {"custom_id": "second", "model": MODELS[1], "messages": [user("Is that right?")], "after": "first"},
    ]
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, lines)
        gpu = listen(database, clock, host)

    first, second = result_lines(database, Selection(batch.id))
    assert (first["state"], second["state"]) == ("succeeded", "succeeded")
    assert gpu.chats[-1]["messages"] == [
        user("Name a river."),
        {"role": "assistant", "content": first["answer"]},
        user("Is that right?"),
    ]


def test_nothing_goes_on_from_a_vector(database: Database, clock: Clock) -> None:
    lines: list[dict[str, Any]] = [
        {"custom_id": "first", "model": MODELS[0], "kind": "embed", "input": "A river."},
        {"custom_id": "second", "model": MODELS[0], "messages": [user("And?")], "after": "first"},
    ]

    with pytest.raises(InputRefused) as refused:
        submit(database, clock, lines)

    assert "that job (embed) has no answer to go on from" in str(refused.value)


def test_calls_of_tools_are_results_and_turns_of_what_follows(database: Database, clock: Clock) -> None:
    model, tool = MODELS[0], {"type": "function", "function": {"name": "get_weather"}}
    rain = {"role": "tool", "content": "rain", "tool_name": "get_weather"}
    lines: list[dict[str, Any]] = [
        {"custom_id": "asks", "model": model, "messages": [user("Weather in Porto?")], "tools": [tool]},
        {"custom_id": "told", "model": model, "messages": [rain], "after": "asks"},
    ]
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, lines)
        gpu = listen(database, clock, host)

    asked, told = result_lines(database, Selection(batch.id))
    assert (asked["answer"], asked["tool_calls"], asked["empty"]) == ("", [CALL], False)
    assert "tool_calls" not in told
    assert gpu.chats[-1]["messages"] == [
        user("Weather in Porto?"),
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        rain,
    ]


SPOKEN = '<tool_call>{"name": "%s", "arguments": %s} </tool_call>'
GOOD = SPOKEN % ("get_weather", '{"city": "Porto"}')
BAD = {
    "cut": ('<tool_call>{"name": "get_wea', "num_predict ended the call of a tool"),
    "malformed": ("<tool_call>{city: Porto}</tool_call>", "neither text nor a call"),
    "unknown": (SPOKEN % ("news", "{}"), "neither text nor a call"),
    "text": ('{"name": "news", "arguments": {}}', "news is none of the tools"),
    "unfit": (SPOKEN % ("get_weather", "{}"), "'city' is a required property"),
}
"""How a model calls a tool so that it cannot be used → what it says, and what the job then says."""


def odd_calls(how: str, times: int, n: int) -> tuple[Fault, Fault]:
    """A model that calls badly so often, and then well."""
    chat, ends = f"{how} {times} {n}", "length" if how == "cut" else "stop"
    bad = Fault("says", prompt=chat, text=BAD[how][0], done_reason=ends, times=times)
    well = Fault("says", prompt=chat, text=GOOD, times=0)
    return (bad, well) if times else (well, well)


def test_200_chats_with_tools_end_as_a_valid_call_or_as_a_named_failure(
    database: Database, clock: Clock
) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": parameters}}
    chats = [(how, times, n) for n in range(10, 20) for how in BAD for times in range(4)]
    faults = tuple(fault for chat in chats for fault in odd_calls(*chat))
    lines: list[dict[str, Any]] = [
        {"custom_id": name, "model": MODELS[0], "messages": [user(name)], "tools": [tool], "repairs": 2}
        for name in (f"{how} {times} {n}" for how, times, n in chats)
    ]
    with simulator.running(simulated(faults=faults)) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, lines)
        serve(database, clock, host)

    ended = list(result_lines(database, Selection(batch.id)))
    assert len(ended) == 200
    for line in ended:
        how, times, _ = line["custom_id"].split()
        if int(times) <= 2:
            (call,) = line["tool_calls"]
            assert (line["state"], call["function"]["arguments"]) == ("succeeded", {"city": "Porto"})
        else:
            assert line["error"]["code"] == Code.INVALID_TOOL_CALL
            assert BAD[how][1] in line["error"]["message"]


def test_rows_of_a_table_become_chats_and_a_column_may_hold_whole_ones(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    table = tmp_path / "rows.csv"
    table.write_text('river,place\nTagus,"Lisbon"\nDouro,"Porto"\n')
    column = tmp_path / "chats.csv"
    column.write_text('id,messages\nx,"[{""role"": ""user"", ""content"": ""Why?""}]"\n')
    defaults = JobDefaults(model=MODELS[0])
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        submit_file(
            database,
            table,
            Submission.of_defaults(
                defaults,
                prompt="Where does the {{ river }} end?",
                system="Near {{ place }}.",
                render_system=True,
                chat=True,
            ),
            clock=clock,
        )
        submit_file(
            database, column, Submission.of_defaults(defaults, chat=True, system="Be brief."), clock=clock
        )
        gpu = listen(database, clock, host)

    assert sorted((body["messages"] for body in gpu.chats), key=str) == sorted(
        [
            [{"role": "system", "content": "Near Lisbon."}, user("Where does the Tagus end?")],
            [{"role": "system", "content": "Near Porto."}, user("Where does the Douro end?")],
            [{"role": "system", "content": "Be brief."}, user("Why?")],
        ],
        key=str,
    )
