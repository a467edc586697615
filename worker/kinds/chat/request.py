"""What is sent to a host for a chat, how it goes on from what the model said, and how many tokens it takes."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from worker.domain.hosts import HostModel
from worker.domain.jobs import ClaimedJob
from worker.domain.replies import Reply
from worker.kinds.speech import explicit
from worker.kinds.structured import AS_JSON, at_once
from worker.policy.context_window import IMAGE_TOKENS, OVERHEAD, estimate_tokens

PATH = "/api/chat"
_A_MESSAGE = 8
"""Tokens of a template around each message, about."""
_LOCAL_FIELDS = frozenset(
    {"keep_alive", "stream", "repairs", "allow_empty", "tool_choice", "tools", "messages"}
)


def wire_body(
    job: ClaimedJob,
    host_model: HostModel | None,
    *,
    window: int | None = None,
    num_ctx: int | None = None,
) -> dict[str, Any]:
    """The body of ``POST /api/chat`` for one job, without ``stream``; see ``kinds.speech.explicit``.

    ``truncate`` and ``shift`` are false: a host would drop the oldest turns and say nothing. ``tool_choice``, which hosts
    ignore, becomes what they understand: no tools, or a ``format`` that only a call of the tool fits.
    """
    request = job.request
    body: dict[str, Any] = {"model": job.model, "messages": list(request["messages"])}
    tools, choice = request.get("tools"), request.get("tool_choice")
    if tools and choice != "none":
        body["tools"] = tools
        if (forced_tool := forced(tools, choice)) is not None:
            body["format"] = forced_tool
    body.update((name, value) for name, value in request.items() if name not in _LOCAL_FIELDS)
    return explicit(body, host_model, window=window, num_ctx=num_ctx)


def parameters(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of a tool's arguments."""
    return tool["function"].get("parameters") or {"type": "object"}


def forced(tools: Sequence[Mapping[str, Any]], choice: Any) -> Mapping[str, Any] | None:
    """The schema that only the arguments of a call fit where one has to be made; of several tools a name stands beside them."""
    if isinstance(choice, Mapping):
        tools = [tool for tool in tools if tool["function"]["name"] == choice["name"]]
    elif choice != "required":
        return None
    if len(tools) == 1:
        return parameters(tools[0])
    shared = {f"tool{n}": _moved(parameters(tool), f"#/$defs/tool{n}") for n, tool in enumerate(tools)}
    return {
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "enum": [tool["function"]["name"]]},
                    "arguments": {"$ref": f"#/$defs/{place}"},
                },
                "required": ["name", "arguments"],
            }
            for place, tool in zip(shared, tools, strict=True)
        ],
        "$defs": shared,
    }


def _moved(schema: Any, place: str) -> Any:
    """A schema that stands at ``place`` of another one: what it refers to within itself stands there too.

    >>> _moved({"$ref": "#/$defs/city", "enum": ["#"]}, "#/$defs/tool0")
    {'$ref': '#/$defs/tool0/$defs/city', 'enum': ['#']}
    """
    match schema:
        case dict():
            return {
                name: place + value[1:]
                if name == "$ref" and isinstance(value, str) and value.startswith("#")
                else _moved(value, place)
                for name, value in schema.items()
            }
        case list():
            return [_moved(value, place) for value in schema]
        case _:
            return schema


def forced_call(tools: Sequence[Mapping[str, Any]], choice: Any, value: Any) -> dict[str, Any]:
    """The call that an answer to ``forced`` is."""
    names = [choice["name"]] if isinstance(choice, Mapping) else [tool["function"]["name"] for tool in tools]
    if len(names) == 1:
        return {"function": {"name": names[0], "arguments": value}}
    return {"function": {"name": value["name"], "arguments": value["arguments"]}}


class MessageTurns:
    """Goes on by further messages; see ``kinds.structured.Turns``."""

    def constrained(
        self, body: Mapping[str, Any], reply: Reply, *, draft: str, budget: int
    ) -> dict[str, Any]:
        """What the model thought and said becomes its turn."""
        turns = (
            [{"role": "assistant", "content": draft}, {"role": "user", "content": AS_JSON}] if draft else []
        )
        return at_once(body) | {
            "messages": [*body["messages"], *turns],
            "options": {**body["options"], "num_predict": budget},
        }

    def correction(self, body: Mapping[str, Any], reply: Reply, *, message: str) -> dict[str, Any] | None:
        """The user says what is wrong; after calls of tools each of them does."""
        turn: dict[str, Any] = {"role": "assistant", "content": reply.response}
        answers: list[dict[str, Any]] = [{"role": "user", "content": message}]
        if reply.tool_calls:
            turn["tool_calls"] = list(reply.tool_calls)
            answers = [
                {"role": "tool", "content": message, "tool_name": call["function"]["name"]}
                for call in reply.tool_calls
            ]
        return {**body, "messages": [*body["messages"], turn, *answers]}


def prompt_tokens(request: Mapping[str, Any]) -> int:
    """Tokens before the answer: all turns, their images, and the tools."""
    tokens = OVERHEAD
    for message in request["messages"]:
        tokens += _A_MESSAGE + estimate_tokens(message.get("content") or "")
        tokens += estimate_tokens(message.get("thinking") or "")
        if calls := message.get("tool_calls"):
            tokens += estimate_tokens(json.dumps(calls))
        tokens += IMAGE_TOKENS * len(message.get("images") or ())
    if (tools := request.get("tools")) and request.get("tool_choice") != "none":
        tokens += estimate_tokens(json.dumps(tools))
    if request.get("format") and request.get("think"):
        tokens += OVERHEAD
    return tokens
