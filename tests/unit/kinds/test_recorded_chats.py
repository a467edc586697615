"""Every chat that was recorded from real servers is read as its records say."""

import json

import pytest

from tests.unit.ollama.recordings import VERSIONS, Exchange, exchanges
from worker.errors import Code, HostError
from worker.kinds.chat.kind import ChatReader

SCENES = ("chat", "chat-tools", "chat-window")
ANSWERED = [
    one
    for version in VERSIONS
    for scene in SCENES
    for one in exchanges(version, scene)
    if one.path == "/api/chat" and one.status == 200 and one.whole and not one.cut
    if one.lines and '"done":true' in one.lines[-1]
]


@pytest.mark.parametrize("recorded", ANSWERED, ids=lambda one: one.id)
def test_a_recorded_chat_is_read_as_its_records_say(recorded: Exchange) -> None:
    records = [json.loads(line) for line in recorded.lines]
    reader = ChatReader()

    reply = reader.feed(recorded.body) or reader.end()

    messages = [record.get("message") or {} for record in records]
    assert reply.response == "".join(message.get("content", "") for message in messages)
    assert reply.thinking == "".join(message.get("thinking", "") for message in messages)
    assert list(reply.tool_calls) == [call for message in messages for call in message.get("tool_calls", [])]
    assert (reply.done_reason, reply.eval_count) == (
        records[-1].get("done_reason"),
        records[-1].get("eval_count", 0),
    )


def test_the_recordings_have_calls_and_answers_with_nothing_in_them() -> None:
    texts = "".join("".join(one.lines) for one in ANSWERED)

    assert texts.count("tool_calls") > 10
    assert any('"content":""' in one.lines[0] and len(one.lines) == 1 for one in ANSWERED)


@pytest.mark.parametrize(
    "line",
    [
        '{"message": "hello", "done": true}',
        '{"message": {"content": 1}, "done": true}',
        '{"message": {"tool_calls": {}}, "done": true}',
        '{"message": {"tool_calls": [{"function": {"name": 1}}]}, "done": true}',
    ],
)
def test_what_is_no_message_is_a_bad_reply(line: str) -> None:
    with pytest.raises(HostError) as caught:
        ChatReader().feed(line.encode() + b"\n")
    assert caught.value.code is Code.BAD_REPLY
