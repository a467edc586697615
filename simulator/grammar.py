"""What a ``format`` allows to be said next.

A grammar is a set of rules over bytes; where an answer stands in it is a set of stacks of what must still come.
Source: llama.cpp's grammars, ``llm/grammar.go``; the built-in JSON grammar of ``llm/server.go``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from simulator import gojson
from simulator.json_rules import FORMAT_RULES, Element, Rules
from simulator.schema import BadSchema, example_of, schema_rules
from simulator.settings import Line
from simulator.tokens import END, Vocabulary

Stack = tuple[Element, ...]


class BadFormat(ValueError):
    """A format the server refuses. ``of_llama_server``: it is llama-server that does."""

    def __init__(self, text: str, *, of_llama_server: bool = False) -> None:
        super().__init__(text)
        self.of_llama_server = of_llama_server


@dataclass(frozen=True, slots=True)
class Grammar:
    """The grammar of ``"json"`` or of a JSON schema (``schema``)."""

    rules: Rules
    schema: Any = None

    def example(self, number: int, length: int) -> str:
        """A text of this grammar, about ``length`` tokens of strings in it; another one for another ``number``."""
        return example_of(self.schema, number, length)


class Position:
    """Where an answer stands in a grammar."""

    def __init__(self, grammar: Grammar) -> None:
        self._rules = grammar.rules
        self._stacks = self._expanded([("root",)])

    def choose(self, favourite: int, vocabulary: Vocabulary) -> int:
        """The favourite if the grammar allows it, else whatever comes first of all it allows; moves on by it."""
        allowed = self._after_token(favourite, vocabulary) is not None
        token = favourite
        if not allowed:
            tokens = range(vocabulary.size)
            token = first_of_equals([self._after_token(one, vocabulary) is not None for one in tokens])
        stacks = self._after_token(token, vocabulary)
        assert stacks is not None, "a grammar that is not over allows something"
        self._stacks = stacks
        return token

    def _after_token(self, token: int, vocabulary: Vocabulary) -> frozenset[Stack] | None:
        if token == END:
            return self._stacks if () in self._stacks else None
        piece = vocabulary.piece(token)
        if not piece or token == 0:
            return None
        stacks = self._stacks
        for byte in piece:
            following = [stack[:-1] for stack in stacks if stack and byte in stack[-1]]
            if not following:
                return None
            stacks = self._expanded(following)
        return stacks

    def _expanded(self, stacks: Iterable[Stack]) -> frozenset[Stack]:
        """Replace rules on top by their alternatives until each stack is empty or has a byte on top."""
        found: set[Stack] = set()
        seen: set[Stack] = set()
        todo = list(stacks)
        while todo:
            stack = todo.pop()
            if stack in seen:
                continue
            seen.add(stack)
            if not stack or isinstance(stack[-1], frozenset):
                found.add(stack)
                continue
            for alternative in self._rules[stack[-1]]:
                todo.append(stack[:-1] + tuple(reversed(alternative)))
        return frozenset(found)


def grammar_of(format: Any, line: Line) -> Grammar | None:
    """The grammar of a request's ``format``; None where it sets none.

    Raises:
        BadFormat: it is neither "json" nor a schema.
    """
    if format is None or format == "":
        return None
    if format == "json":
        return Grammar(FORMAT_RULES)
    if isinstance(format, dict):
        try:
            return Grammar(schema_rules(format, space_at_end=line == "O"), format)
        except BadSchema as error:
            if line == "O":
                raise BadFormat("invalid JSON schema in format") from None
            text = (
                "Field 'json_schema': \"json_schema\": JSON schema conversion failed:\n"
                f"JSON schema error at #: {error}"
            )
            raise BadFormat(text, of_llama_server=True) from None
    raw = gojson.quoted(gojson.dumps(format))
    raise BadFormat(f'invalid format: {raw}; expected "json" or a valid JSON Schema object')


def first_of_equals(allowed: Sequence[bool], top: int = 40) -> int:
    """Which of equally likely tokens is taken: the one that a partial sort for ``top_k`` leaves in front.

    llama.cpp sorts with ``std::partial_sort``, which is a heap selection and not stable; this does the same moves,
    so that the same token comes out.
    """
    order = list(range(len(allowed)))

    def before(first: int, other: int) -> bool:
        return allowed[first] and not allowed[other]

    def sift(hole: int, length: int, value: int) -> None:
        start, child = hole, hole
        while child < (length - 1) // 2:
            child = 2 * (child + 1)
            if before(order[child], order[child - 1]):
                child -= 1
            order[hole] = order[child]
            hole = child
        if length % 2 == 0 and child == (length - 2) // 2:
            child = 2 * (child + 1)
            order[hole] = order[child - 1]
            hole = child - 1
        parent = (hole - 1) // 2
        while hole > start and before(order[parent], value):
            order[hole] = order[parent]
            hole, parent = parent, (parent - 1) // 2
        order[hole] = value

    top = min(top, len(order))
    for place in range((top - 2) // 2, -1, -1):
        sift(place, top, order[place])
    for place in range(top, len(order)):
        if before(order[place], order[0]):
            value, order[place] = order[place], order[0]
            sift(0, top, value)
    for last in range(top - 1, 0, -1):
        value, order[last] = order[last], order[0]
        sift(0, last, value)
    return order[0]
