"""The rules of JSON over bytes, as the grammars of llama.cpp have them."""

from collections.abc import Mapping, Sequence

Element = frozenset[int] | str
"""One byte out of a set, or a rule by name."""

Rules = Mapping[str, Sequence[Sequence[Element]]]
"""Each rule's alternatives."""


def _bytes(text: str) -> frozenset[int]:
    return frozenset(text.encode())


def _word(text: str) -> Sequence[Element]:
    return [*(_bytes(letter) for letter in text), "ws"]


_DIGIT = _bytes("0123456789")
_HEX = _bytes("0123456789abcdefABCDEF")
_CONTINUED = frozenset(range(0x80, 0xC0))
_QUOTE = _bytes('"')

SHARED_RULES: Rules = {
    "char": [
        [frozenset(range(0x20, 0x7F)) - _bytes('"\\')],
        [_bytes("\\"), _bytes('"\\/bfnrt')],
        [_bytes("\\"), _bytes("u"), _HEX, _HEX, _HEX, _HEX],
        [frozenset(range(0xC2, 0xE0)), _CONTINUED],
        [frozenset(range(0xE0, 0xF0)), _CONTINUED, _CONTINUED],
        [frozenset(range(0xF0, 0xF5)), _CONTINUED, _CONTINUED, _CONTINUED],
    ],
    "chars": [[], ["char", "chars"]],
    "digits": [[], [_DIGIT, "digits"]],
    "integer-part": [[_bytes("0")], [_DIGIT - _bytes("0"), "digits"]],
    "sign": [[], [_bytes("-")]],
    "fraction": [[], [_bytes("."), _DIGIT, "digits"]],
    "exponent": [[], [_bytes("eE"), "exponent-sign", _DIGIT, "digits"]],
    "exponent-sign": [[], [_bytes("+-")]],
}

JSON_RULES: Rules = {
    **SHARED_RULES,
    "root": [["object"]],
    "ws": [[], [_bytes(" \t\n"), "ws"]],
    "object": [[_bytes("{"), "ws", "members", _bytes("}"), "ws"]],
    "members": [[], ["member", "more-members"]],
    "more-members": [[], [_bytes(","), "ws", "member", "more-members"]],
    "member": [["string", _bytes(":"), "ws", "value"]],
    "array": [[_bytes("["), "ws", "items", _bytes("]"), "ws"]],
    "items": [[], ["value", "more-items"]],
    "more-items": [[], [_bytes(","), "ws", "value", "more-items"]],
    "string": [[_QUOTE, "chars", _QUOTE, "ws"]],
    "number": [["sign", "integer-part", "fraction", "exponent", "ws"]],
    "value": [
        ["object"],
        ["array"],
        ["string"],
        ["number"],
        _word("true"),
        _word("false"),
        _word("null"),
    ],
}

FORMAT_RULES: Rules = {
    **JSON_RULES,
    "object": [[_bytes("{"), "ws", "members", "ws", _bytes("}")]],
    "array": [[_bytes("["), "ws", "items", "ws", _bytes("]")]],
    "string": [[_QUOTE, "chars", _QUOTE]],
    "number": [["sign", "integer-part", "fraction", "exponent"]],
}
"""What ``format: "json"`` allows: an object with white space before its brackets, and nothing behind the last."""
