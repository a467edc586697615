"""Which tags enclose a model's reasoning, as far as its template tells.

Source: ``thinking/template.go InferTags``: in a ``range .Messages``, the text just before and after ``.Thinking``.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from simulator.template import parse
from simulator.template_nodes import Action, Branch, Field, Node, Pipe, TemplateError, Text


@lru_cache(maxsize=256)
def infer_tags(source: str) -> tuple[str, str] | None:
    """The opening and the closing tag, or None where the template has no reasoning.

    >>> infer_tags("{{ range .Messages }}<think>{{ .Thinking }}</think>{{ end }}")
    ('<think>', '</think>')
    """
    try:
        template = parse(source)
    except TemplateError:
        return None
    for nodes in _ranges_over_messages(template.nodes):
        for siblings in _lists_with_thinking(nodes):
            place = next(place for place, node in enumerate(siblings) if _says_thinking(node))
            before = [node.text.strip() for node in siblings[:place] if isinstance(node, Text)]
            after = [node.text.strip() for node in siblings[place + 1 :] if isinstance(node, Text)]
            if before and after and before[-1] and after[0]:
                return before[-1], after[0]
    return None


def _ranges_over_messages(nodes: Sequence[Node]) -> Iterator[Sequence[Node]]:
    for node in nodes:
        if isinstance(node, Branch):
            if node.word == "range" and mentions(node.pipe, "Messages"):
                yield node.body
            else:
                yield from _ranges_over_messages(node.body)
                yield from _ranges_over_messages(node.otherwise)


def _lists_with_thinking(nodes: Sequence[Node]) -> Iterator[Sequence[Node]]:
    if any(_says_thinking(node) for node in nodes):
        yield nodes
    for node in nodes:
        if isinstance(node, Branch):
            yield from _lists_with_thinking(node.body)
            yield from _lists_with_thinking(node.otherwise)


def _says_thinking(node: Node) -> bool:
    return isinstance(node, Action) and mentions(node.pipe, "Thinking")


def mentions(pipe: Pipe, name: str) -> bool:
    """Whether a field of that name stands in a pipeline."""
    return any(isinstance(one, Field) and name in one.path for command in pipe.commands for one in command)
