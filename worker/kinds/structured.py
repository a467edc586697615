"""A job with ``format``, asked until its answer fits: within one attempt, in a bounded number of calls.

The grammar holds from the first token, and locks the reasoning in. So a job that is to reason first is asked twice:
without ``format``, then with it, going on from the first reply. The host finds the beginning in its prefix cache, where the
runner options are the same.

The model gets the problem of an answer that does not fit, and goes on from it: its prefix is cached, and a model that is
told changes its answer even at temperature 0. An answer that was cut is worth no telling: it is asked again, with
another seed, and not at all where no chance is in it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from worker.domain.replies import PromptFit, Reply, Result
from worker.errors import Code, HostError
from worker.records import record
from worker.replies.families import Marks
from worker.replies.prompt_fit import fit_of
from worker.replies.reasoning import split_reasoning
from worker.replies.structured import Unfit, fitting
from worker.replies.sums import constrained_text, read_calls

Send = Callable[[Mapping[str, Any]], Reply]
"""Sends a body to the route of the kind; raises HostError."""
REPAIRS = 2
"""Further tries for an answer that does not fit, where the job says nothing."""
FOR_ANSWER = 2048
"""Tokens of ``num_predict`` that reasoning leaves to the answer, or half of it where that is less."""
AS_JSON = "As JSON."


class Turns(Protocol):
    """How a kind goes on from what the model said."""

    def constrained(
        self, body: Mapping[str, Any], reply: Reply, *, draft: str, budget: int
    ) -> dict[str, Any]:
        """The second of two calls, after a free one that wrote ``draft`` and has ``budget`` tokens to its answer."""
        ...

    def correction(self, body: Mapping[str, Any], reply: Reply, *, message: str) -> dict[str, Any] | None:
        """The call that tells the model what is wrong with its answer; None where this cannot be gone on from."""
        ...


@record
class Structured:
    """What came, and what is wrong with it where it does not fit."""

    result: Result
    problem: str | None


def ask_structured(
    body: Mapping[str, Any],
    send: Send,
    turns: Turns,
    *,
    repairs: int,
    window: int | None,
    families: Sequence[Marks],
) -> Structured:
    """Reason first where the job says so, then answer under the grammar, then repair at most ``repairs`` times.

    A free answer that fits is taken as it is. A repair that no longer fits the window is not made. Raises HostError
    as ``send`` does; of a later call its ``partial`` is what the earlier one said, where nothing else had come.
    """
    conversation = _Conversation(send, window, families)
    schema = body["format"]
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
        look = _look(replace(free, response=split.answer, thinking=""), schema, families)
        if look.problem is None:
            return _structured(conversation, look, reasoning)
        draft = "\n\n".join(part for part in (split.reasoning, split.answer) if part)
        budget = max(body["options"]["num_predict"] - free.eval_count, _for_answer(body))
        call = turns.constrained(body, free, draft=draft, budget=budget)
    else:
        call = at_once(body)
    reply = conversation.ask(call)
    for nth in range(1, repairs + 1):
        look = _look(reply, schema, families)
        if look.problem is None:
            break
        message = f"That does not fit: {look.problem}. Again, as JSON alone."
        again = (None if look.cut else turns.correction(call, reply, message=message)) or by_chance(call, nth)
        if again is None:
            break
        try:
            reply = conversation.ask(again)
        except HostError as error:
            if error.code is not Code.CONTEXT_OVERFLOW:
                raise
            break
    return _structured(conversation, _look(reply, schema, families), reasoning)


@record
class _Fit:
    """A value, and whether it is what the format demands."""

    value: Any
    problem: str | None
    cut: bool


def _look(reply: Reply, form: Any, families: Sequence[Marks]) -> _Fit:
    cut = reply.done_reason == "length"
    text, _ = constrained_text(reply)
    answer = split_reasoning(
        text, "", done_reason=reply.done_reason, expects_reasoning=False, families=families
    ).answer
    try:
        return _Fit(fitting(answer, form, cut=cut), None, cut)
    except Unfit as error:
        return _Fit(None, str(error), cut)


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


def _structured(conversation: _Conversation, look: _Fit, reasoning: str | None) -> Structured:
    result = read_calls(
        conversation.replies, conversation.fits, reasoning=reasoning, families=conversation.families
    )
    if look.problem is None:
        result = replace(result, answer=result.answer.strip(), cut=False, parsed=look.value)
    return Structured(result, look.problem)


def reasons_first(body: Mapping[str, Any]) -> bool:
    """Whether a call without ``format`` goes before. A raw prompt, or one with a suffix, cannot be carried on from."""
    return bool(body.get("format") and body.get("think") and not body.get("raw") and not body.get("suffix"))


def reasoning_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The first of two calls: free, and so long that the answer has its share of ``num_predict`` left.

    The producer's ``stop`` is about the answer, and would end the reasoning.
    """
    options = {name: value for name, value in body["options"].items() if name != "stop"}
    options["num_predict"] = body["options"]["num_predict"] - _for_answer(body)
    return {name: value for name, value in body.items() if name != "format"} | {"options": options}


def at_once(body: Mapping[str, Any]) -> dict[str, Any]:
    """One call, constrained from its first token: nothing may be reasoned under a grammar."""
    return {**body, "think": False}


def by_chance(body: Mapping[str, Any], nth: int) -> dict[str, Any] | None:
    """The same once more, for the ``nth`` time (from 1), with another seed; None where it would come out the same."""
    options = dict(body["options"])
    if options.get("temperature") == 0 or options.get("top_k") == 1:
        return None
    if "seed" in options:
        options["seed"] += nth
    return {**body, "options": options}


def _for_answer(body: Mapping[str, Any]) -> int:
    num_predict: int = body["options"]["num_predict"]
    return min(FOR_ANSWER, max(1, num_predict // 2))
