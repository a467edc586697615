"""A job with ``format``, asked until its answer fits: within one attempt, in a bounded number of calls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from worker.domain.replies import PromptFit, Reply, Result
from worker.errors import Code, HostError
from worker.kinds.generate.bodies import at_once, constrained_body, reasoning_body, reasons_first, repair_body
from worker.replies.families import FAMILIES, Marks
from worker.replies.prompt_fit import fit_of
from worker.replies.reasoning import split_reasoning
from worker.replies.structured import Unfit, fitting
from worker.replies.sums import constrained_text, read_calls

Send = Callable[[Mapping[str, Any]], Reply]
"""Sends a body to ``/api/generate``; raises HostError."""


@dataclass(frozen=True, slots=True)
class Structured:
    """What came, and what is wrong with it where it does not fit."""

    result: Result
    problem: str | None


def ask_structured(
    body: Mapping[str, Any],
    send: Send,
    *,
    repairs: int,
    window: int | None = None,
    families: Sequence[Marks] = FAMILIES,
) -> Structured:
    """Reason first where the job says so, then answer under the grammar, then repair at most ``repairs`` times.

    A free answer that fits is taken as it is. A repair that no longer fits the window is not made. Raises HostError
    as ``send`` does; of a later call its ``partial`` is what the earlier one said, where nothing else had come.
    """
    conversation = _Conversation(send, window, families)
    wanted = body["format"]
    reasoning: str | None = None
    if reasons_first(body):
        free = conversation.ask(reasoning_body(body))
        split = split_reasoning(
            free.response,
            free.thinking,
            done_reason=free.done_reason,
            expects_reasoning=True,
            families=families,
        )
        reasoning = split.reasoning
        found = _look(replace(free, response=split.answer, thinking=""), wanted, families)
        if found.problem is None:
            return _told(conversation, found, reasoning)
        said = "\n\n".join(part for part in (split.reasoning, split.answer) if part)
        sent = constrained_body(body, context=free.context, said=said, used=free.eval_count)
    else:
        sent = at_once(body)
    reply = conversation.ask(sent)
    for nth in range(1, repairs + 1):
        found = _look(reply, wanted, families)
        if found.problem is None:
            break
        again = repair_body(sent, context=reply.context, problem=found.problem, cut=found.cut, nth=nth)
        if again is None:
            break
        try:
            reply = conversation.ask(again)
        except HostError as error:
            if error.code is not Code.CONTEXT_OVERFLOW:
                raise
            break
    return _told(conversation, _look(reply, wanted, families), reasoning)


@dataclass(frozen=True, slots=True)
class _Found:
    value: Any
    problem: str | None
    cut: bool


def _look(reply: Reply, wanted: Any, families: Sequence[Marks]) -> _Found:
    cut = reply.done_reason == "length"
    text, _ = constrained_text(reply)
    answer = split_reasoning(
        text, "", done_reason=reply.done_reason, expects_reasoning=False, families=families
    ).answer
    try:
        return _Found(fitting(answer, wanted, cut=cut), None, cut)
    except Unfit as error:
        return _Found(None, str(error), cut)


class _Conversation:
    """The calls of one attempt."""

    def __init__(self, send: Send, window: int | None, families: Sequence[Marks]) -> None:
        self._send, self._window = send, window
        self.families = families
        self.replies: list[Reply] = []
        self.fits: list[PromptFit] = []

    def ask(self, body: Mapping[str, Any]) -> Reply:
        try:
            reply = self._send(body)
        except HostError as error:
            if self.replies and not error.partial:
                error.partial = self.replies[-1].response or self.replies[-1].thinking
            raise
        self.replies.append(reply)
        self.fits.append(fit_of(reply, body, self._window))
        return reply


def _told(conversation: _Conversation, found: _Found, reasoning: str | None) -> Structured:
    result = read_calls(
        conversation.replies, conversation.fits, reasoning=reasoning, families=conversation.families
    )
    if found.problem is None:
        result = replace(result, answer=result.answer.strip(), cut=False, parsed=found.value)
    return Structured(result, found.problem)
