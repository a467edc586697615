"""Checks whether the model called a tool, and whether the call can be used.

A host parses calls by a tag that it finds in the model's template. What it does not understand is an empty success on the wire: a
call of a tool that was not offered vanishes, and so does one that ``num_predict`` cut. Where the template has no tag, a call
stays in the text.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from worker.domain.replies import PromptFit, Reply, Result
from worker.errors import Code, HostError
from worker.kinds.chat.request import MessageTurns, parameters
from worker.kinds.structured import Send, Structured, by_chance
from worker.policy.context_window import estimate_tokens
from worker.records import record
from worker.replies.families import FAMILIES, Marks
from worker.replies.prompt_fit import fit_of
from worker.replies.read import read_reply
from worker.replies.structured import schema_problem
from worker.replies.sums import added_up, fit_of_all

_TAGGED = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
_OPENING = "<tool_call>"
_A_CALL = ({"name", "arguments"}, {"name", "parameters"})
"""The fields of an object that is a call, whatever it calls."""


def ask_with_tools(
    body: Mapping[str, Any],
    send: Send,
    *,
    repairs: int,
    window: int | None = None,
    families: Sequence[Marks] = FAMILIES,
) -> Structured:
    """Ask until the answer is a text or calls that can be used, with at most ``repairs`` further tries. Raises HostError."""
    tools = body["tools"]
    replies: list[Reply] = []
    fits: list[PromptFit] = []
    sent: Mapping[str, Any] = body
    while True:
        try:
            replies.append(send(sent))
        except HostError as error:
            if not replies or error.code is not Code.CONTEXT_OVERFLOW:
                raise
            break
        fits.append(fit_of(replies[-1], sent, window))
        reading = _read(replies, fits, tools, body, families)
        if reading.problem is None or len(replies) > repairs:
            break
        message = f"That call cannot be used: {reading.problem}."
        turns = MessageTurns()
        again = turns.correction(body, replies[-1], message=message) if replies[-1].tool_calls else None
        following = again or by_chance(body, len(replies))
        if following is None:
            break
        sent = following
    return _read(replies, fits, tools, body, families)


def _read(
    replies: Sequence[Reply],
    fits: Sequence[PromptFit],
    tools: Sequence[Mapping[str, Any]],
    body: Mapping[str, Any],
    families: Sequence[Marks],
) -> Structured:
    result = read_reply(
        added_up(replies),
        expects_reasoning=True if body.get("think") else None,
        guarded=True,
        families=families,
    )
    result = replace(result, prompt_fit=fit_of_all(fits))
    if not result.tool_calls:
        calls = calls_in(result.answer, [tool["function"]["name"] for tool in tools])
        result = replace(result, answer=calls.text, tool_calls=calls.calls)
        if calls.problem is not None:
            return Structured(result, calls.problem)
    return Structured(result, _problem(result, tools, replies[-1].eval_count))


def _problem(result: Result, tools: Sequence[Mapping[str, Any]], tokens: int) -> str | None:
    """What is wrong with the calls of an answer, or with their absence."""
    if result.empty and result.cut:
        return f"num_predict ended the call of a tool after {tokens:,} tokens; raise num_predict"
    if result.empty and tokens > 1 + 2 * estimate_tokens(result.reasoning or ""):
        beside = "beside its reasoning " if result.reasoning else ""
        return (
            f"the model generated {tokens:,} tokens and {beside}the host made neither text nor a call of them: "
            "it called a tool that was not offered, or in a form that the host does not know"
        )
    offered = {tool["function"]["name"]: tool for tool in tools}
    for call in result.tool_calls:
        name, arguments = call["function"]["name"], call["function"].get("arguments")
        if name not in offered:
            return f"{name or 'a call without a name'} is none of the tools; they are {', '.join(offered)}"[
                :300
            ]
        if not isinstance(arguments, Mapping):
            return f"{name}: its arguments are no object"
        problem = schema_problem(arguments, parameters(offered[name]))
        if problem is not None:
            return f"{name}: {problem}"
    return None


@record
class TextCalls:
    """Calls that were left in a text, and the text without them."""

    text: str
    calls: tuple[Any, ...] = ()
    problem: str | None = None


def calls_in(text: str, names: Sequence[str]) -> TextCalls:
    """The calls that a host left in ``text``: between tags, or all of the text where that is a call of one of ``names``, or a
    name with arguments and nothing else.

    >>> calls_in('<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>', ["f"]).calls
    ({'function': {'name': 'f', 'arguments': {'a': 1}}},)
    >>> calls_in("It rains.", ["f"]).calls
    ()
    """
    if _OPENING in text:
        calls = []
        for tagged in _TAGGED.findall(text):
            call = _call(tagged)
            if call is None:
                return TextCalls(text, problem=f"a call of a tool that is not JSON: {tagged.strip()[:100]}")
            calls.append(call)
        return TextCalls(_TAGGED.sub("", text).strip(), tuple(calls))
    if text.lstrip().startswith("{"):
        call = _call(text)
        if call is not None and (call["function"]["name"] in names or set(json.loads(text)) in _A_CALL):
            return TextCalls("", (call,))
    return TextCalls(text)


def _call(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    return (
        {"function": {"name": value["name"], "arguments": arguments}} if isinstance(arguments, dict) else None
    )
