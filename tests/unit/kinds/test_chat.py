"""A chat: what is sent, what comes back, and calls of tools that cannot be used."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest

from api_schemas.job_problems import LineProblem
from api_schemas.jobs import ParsedLine, read_job_line
from worker.domain.attempts import Failed, Outcome, Succeeded
from worker.domain.hosts import HostModel
from worker.domain.jobs import ClaimedJob, NewJob, Priority
from worker.errors import Code, HostError
from worker.kinds.base import Place
from worker.kinds.registry import kind_of, shapes
from worker.policy.context_window import IMAGE_TOKENS
from worker.replies.stream import Reader

T = TypeVar("T")
USER = {"role": "user", "content": "Weather in Porto?"}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
                "required": ["city"],
            },
        },
    },
    {"type": "function", "function": {"name": "get_time"}},
]
CALLED = {"function": {"name": "get_weather", "arguments": {"city": "Porto"}}}


@dataclass
class Host:
    """Answers each request with the records that come next."""

    replies: Sequence[Sequence[Mapping[str, Any]] | HostError]
    sent: list[Mapping[str, Any]] = field(default_factory=list)

    def ask(self, path: str, body: Mapping[str, Any], reader: Reader[T]) -> T:
        assert path == "/api/chat"
        self.sent.append(json.loads(json.dumps(body)))
        reply = self.replies[len(self.sent) - 1]
        if isinstance(reply, HostError):
            raise reply
        for record in reply:
            found = reader.feed(json.dumps(record).encode() + b"\n")
            if found is not None:
                return found
        return reader.end()


def said(
    content: str = "", *calls: Any, done: str = "stop", thinking: str = "", **more: Any
) -> list[dict[str, Any]]:
    """The stream of an answer: its message, and the record that ends it."""
    message: dict[str, Any] = {"role": "assistant", "content": content, "thinking": thinking}
    message |= {"tool_calls": list(calls)} if calls else {}
    last = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": done}
    return [{"message": message, "done": False}, {**last, "eval_count": 13, "prompt_eval_count": 226, **more}]


def ask(*replies: Sequence[Mapping[str, Any]] | HostError, **request: Any) -> tuple[Host, Outcome]:
    host = Host(replies)
    job = ClaimedJob(
        *(1, 1, "c", "m:1", "m:1", Priority.NORMAL, 1, 0, 3, "t", "text"),
        request={"messages": [USER], **request},
        kind="chat",
    )
    place = Place(datetime(2026, 11, 30, tzinfo=UTC), HostModel("m:1", "d", False, 8192), 4096)
    (answer,) = kind_of("chat").answer([job], host.ask, place)
    assert not isinstance(answer, HostError)
    return host, answer


def test_a_chat_is_sent_with_everything_that_keeps_turns_from_being_dropped() -> None:
    host, outcome = ask(said("Sunny."), keep_alive="5m", options={"temperature": 0}, repairs=1)

    assert host.sent == [
        {
            "model": "m:1",
            "messages": [USER],
            "options": {"temperature": 0, "num_predict": 2048},
            "truncate": False,
            "shift": False,
            "think": False,
            "stream": True,
        }
    ]
    assert isinstance(outcome, Succeeded)
    assert (outcome.result.answer, outcome.result.prompt_tokens, outcome.result.prompt_fit) == (
        "Sunny.",
        226,
        "yes",
    )


def test_an_image_counts_among_the_tokens_of_a_chat_and_of_a_prompt() -> None:
    for kind, bare, shown in (
        ("chat", {"messages": [USER]}, {"messages": [USER | {"images": ["aGk=", "aGk="]}]}),
        ("generate", {}, {"images": ["aGk=", "aGk="]}),
    ):
        one, other = (kind_of(kind).expected("Why?", request, thinking=False) for request in (bare, shown))
        assert other.prompt - one.prompt == 2 * IMAGE_TOKENS


def test_calls_are_the_answer_and_a_sentence_before_them_stays_text() -> None:
    _, outcome = ask(said("Let me look.", CALLED), tools=TOOLS)

    assert isinstance(outcome, Succeeded)
    assert (outcome.result.answer, outcome.result.tool_calls) == ("Let me look.", (CALLED,))
    assert not outcome.result.empty


@pytest.mark.parametrize(
    ("records", "why"),
    [
        (said(), "generated 13 tokens and the host made neither text nor a call"),
        (said(done="length"), "num_predict ended the call of a tool after 13 tokens"),
        (said("", {"function": {"name": "get_news", "arguments": {}}}), "get_news is none of the tools"),
        (
            said("", {"function": {"name": "get_weather", "arguments": {}}}),
            "get_weather: 'city' is a required",
        ),
        (said("<tool_call>{city: Porto}</tool_call>"), "a call of a tool that is not JSON"),
        (said('{"name": "get_news", "arguments": {}}'), "get_news is none of the tools"),
        (said(thinking="Hm."), "generated 13 tokens and beside its reasoning the host made neither text nor"),
    ],
    ids=["vanished", "cut", "unknown", "unfit", "malformed", "text", "thought"],
)
def test_a_call_that_cannot_be_used_is_tried_again_and_then_fails_by_name(records: Any, why: str) -> None:
    host, failed = ask(records, records, tools=TOOLS, repairs=1)
    _, mended = ask(records, said("", CALLED), tools=TOOLS, repairs=1)

    assert isinstance(failed, Failed)
    assert failed.code is Code.INVALID_TOOL_CALL
    assert why in failed.message
    assert len(host.sent) == 2
    assert isinstance(mended, Succeeded)
    assert mended.result.tool_calls == (CALLED,)
    assert mended.result.output_tokens == 26


def test_a_call_before_the_end_of_num_predict_is_taken_and_called_cut() -> None:
    _, outcome = ask(said("", CALLED, done="length"), tools=TOOLS)

    assert isinstance(outcome, Succeeded)
    assert (outcome.result.tool_calls, outcome.result.cut) == ((CALLED,), True)


def test_an_answer_in_json_with_a_name_is_no_call() -> None:
    for text in ('{"name": "Porto", "people": 231800}', '{"name": "Porto", "arguments": 3}'):
        _, outcome = ask(said(text), tools=TOOLS)
        assert isinstance(outcome, Succeeded)
        assert (outcome.result.answer, outcome.result.tool_calls) == (text, ())


def test_the_model_is_told_by_the_tool_what_is_wrong_with_its_call() -> None:
    wrong = {"function": {"name": "get_weather", "arguments": {"days": 2}}}

    host, _ = ask(said("", wrong), said("", CALLED), tools=TOOLS)

    turns = host.sent[1]["messages"]
    assert turns[:2] == [USER, {"role": "assistant", "content": "", "tool_calls": [wrong]}]
    assert turns[2]["role"] == "tool"
    assert "'city' is a required property" in turns[2]["content"]


def test_what_would_vanish_again_is_not_asked_again() -> None:
    host, outcome = ask(said(), tools=TOOLS, options={"temperature": 0})

    assert len(host.sent) == 1
    assert isinstance(outcome, Failed)


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "get_weather", "arguments": {"city": "Porto"}}',
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Porto"}}\n</tool_call>',
    ],
)
def test_a_call_that_a_host_left_in_the_text_is_a_call(text: str) -> None:
    _, outcome = ask(said(text), tools=TOOLS)

    assert isinstance(outcome, Succeeded)
    assert (outcome.result.answer, list(outcome.result.tool_calls)) == ("", [CALLED])


def test_a_choice_of_tools_that_hosts_ignore_is_kept_all_the_same() -> None:
    by_name, named = ask(said('{"city": "Porto"}'), tools=TOOLS, tool_choice={"name": "get_weather"})
    required, any_of = ask(
        said('{"name": "get_weather", "arguments": {"city": "Porto"}}'), tools=TOOLS, tool_choice="required"
    )
    none, text = ask(said("I cannot know."), tools=TOOLS, tool_choice="none")

    for outcome in (named, any_of):
        assert isinstance(outcome, Succeeded)
        assert (outcome.result.answer, outcome.result.tool_calls) == ("", (CALLED,))
    assert by_name.sent[0]["format"] == TOOLS[0]["function"]["parameters"]  # type: ignore[index]
    assert len(required.sent[0]["format"]["anyOf"]) == 2
    assert "tools" not in none.sent[0]
    assert isinstance(text, Succeeded)
    assert all("tool_choice" not in body for host in (by_name, required, none) for body in host.sent)


def test_an_answer_that_does_not_fit_its_format_is_told_so_by_the_user() -> None:
    host, outcome = ask(said('{"b": 1}'), said('{"a": 1}'), format={"type": "object", "required": ["a"]})

    assert isinstance(outcome, Succeeded)
    assert outcome.result.parsed == {"a": 1}
    assert [turn["role"] for turn in host.sent[1]["messages"]] == ["user", "assistant", "user"]


def test_reasoning_comes_first_and_the_answer_is_constrained_then() -> None:
    thought = [
        {"message": {"role": "assistant", "content": "", "thinking": "Hm."}, "done": False},
        *said("Seven, I think."),
    ]

    host, outcome = ask(thought, said('{"n": 7}'), format="json", think=True)

    assert "format" not in host.sent[0]
    assert (host.sent[1]["format"], host.sent[1]["think"]) == ("json", False)
    assert isinstance(outcome, Succeeded)
    assert (outcome.result.parsed, outcome.result.reasoning) == ({"n": 7}, "Hm.")


def read(**fields: Any) -> ParsedLine | list[LineProblem]:
    return read_job_line(json.dumps({"model": "m:1", **fields}), line=1, shapes=shapes())


def test_messages_make_a_line_a_chat_and_its_turns_are_its_text() -> None:
    parsed = read(messages=[{"role": "system", "content": "Be brief."}, USER])

    assert isinstance(parsed, ParsedLine)
    assert parsed.kind == "chat"
    assert parsed.prompt == "system: Be brief.\n\nuser: Weather in Porto?"
    assert parsed.request == {"messages": [{"role": "system", "content": "Be brief."}, USER]}


def test_images_may_be_data_urls_and_arguments_a_text_as_other_interfaces_have_them() -> None:
    parsed = read(
        messages=[
            {"role": "user", "content": "What is it?", "images": ["data:image/png;base64,aGVsbG8="]},
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"a": 1}'}}]},
            {"role": "tool", "content": "rain", "tool_name": "f"},
        ]
    )

    assert isinstance(parsed, ParsedLine)
    assert parsed.request["messages"][0]["images"] == ["aGVsbG8="]
    assert parsed.request["messages"][1]["tool_calls"][0]["function"]["arguments"] == {"a": 1}


@pytest.mark.parametrize(
    ("fields", "field", "told"),
    [
        ({"messages": []}, "messages", "at least 1"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content",
            "a list of parts",
        ),
        ({"messages": [{"role": "user", "content": " "}]}, "messages[0]", "without content"),
        ({"messages": [{"role": "bot", "content": "x"}]}, "messages[0].role", "'user'"),
        ({"messages": [USER], "prompt": "x"}, "prompt", "unknown field"),
        ({"messages": [USER], "truncate": True}, "truncate", "unknown field"),
        ({"messages": [USER], "tool_choice": "required"}, "tool_choice", "without tools"),
        ({"messages": [USER], "tools": TOOLS, "tool_choice": {"name": "f"}}, "tool_choice", "no tool 'f'"),
        ({"messages": [USER], "tools": [*TOOLS, TOOLS[0]]}, "tools", "get_weather is there twice"),
        ({"messages": [USER], "tools": TOOLS, "format": "json"}, "format", "beside tools"),
        ({"prompt": "x", "tools": TOOLS}, "tools", "a line with messages"),
        ({"prompt": "x", "kind": "sing"}, "kind", "expected one of generate, chat"),
    ],
)
def test_what_is_wrong_with_a_chat_is_named(fields: Any, field: str, told: str) -> None:
    problems = read(**fields)

    assert isinstance(problems, list)
    assert problems[0].field == field
    assert told in problems[0].message


def test_a_chat_shares_the_runner_of_a_prompt_and_not_its_digest_or_answers() -> None:
    chat, generate = kind_of("chat"), kind_of("generate")
    request = {"messages": [USER]}

    def a_job(kind: str) -> NewJob:
        return NewJob(1, "c", "m:1", "m:1", Priority.NORMAL, "text", request, kind=kind)

    assert chat.runner_key("m:1", request, window=4096) == generate.runner_key("m:1", {}, window=4096)
    assert chat.digest(a_job("chat")) != generate.digest(a_job("generate"))
    assert chat.reuse_key("m:1", "text", request) != generate.reuse_key("m:1", "text", request)


def test_each_of_two_hundred_chats_ends_with_a_call_that_can_be_used_or_with_a_failure_by_name() -> None:
    good, text = said("", CALLED), said("It rains.")
    bad = [
        said(),
        said(done="length"),
        said("", {"function": {"name": "get_news", "arguments": {}}}),
        said("", {"function": {"name": "get_weather", "arguments": {"city": 7}}}),
        said("<tool_call>{oh</tool_call>"),
        said("", {"function": {"name": "get_weather", "arguments": None}}),
    ]
    ends: dict[str, int] = {}
    for number in range(200):
        first, second = bad[number % 6], [*bad, good, text][number % 8]
        _, outcome = ask(first, second, good if number % 3 else bad[number % 5], tools=TOOLS)
        match outcome:
            case Succeeded(result=result):
                assert result.answer == "It rains." or list(result.tool_calls) == [CALLED]
                ends["succeeded"] = ends.get("succeeded", 0) + 1
            case Failed(code=code, message=message):
                assert message
                ends[code] = ends.get(code, 0) + 1

    assert ends.keys() == {"succeeded", "invalid_tool_call"}
    assert sum(ends.values()) == 200


def test_of_several_tools_each_finds_its_own_definitions() -> None:
    cities = {
        "type": "object",
        "$defs": {"city": {"enum": ["Porto"]}},
        "properties": {"city": {"$ref": "#/$defs/city"}},
    }
    rivers = {
        "type": "object",
        "$defs": {"city": {"enum": ["Douro"]}},
        "properties": {"city": {"$ref": "#/$defs/city"}},
    }
    tools = [
        {"type": "function", "function": {"name": name, "parameters": schema}}
        for name, schema in (("city", cities), ("river", rivers))
    ]
    wrong = '{"name": "river", "arguments": {"city": "Porto"}}'
    right = '{"name": "river", "arguments": {"city": "Douro"}}'

    host, outcome = ask(said(wrong), said(right), tools=tools, tool_choice="required")

    assert len(host.sent) == 2
    assert isinstance(outcome, Succeeded)
    assert outcome.result.tool_calls == ({"function": {"name": "river", "arguments": {"city": "Douro"}}},)
