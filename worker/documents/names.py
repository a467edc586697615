"""Names of files as text that can be stored, printed and turned back.

A name on Linux is bytes. Python shows those that are no UTF-8 as lone surrogates, which neither a database nor a JSON file
holds. Here they are spelled ``caf\\xe9.txt``; so are control characters, which would break a line of a report. A name that
holds such letters itself has its backslash doubled, so that two names never become the same text.
"""

import re

_ODD = "[\udc80-\udcff]|[\x00-\x1f\x7f]|[\x80-\x9f\u2028\u2029]"
_IN_TEXT = re.compile(f"(\\\\*)({_ODD})")
_IN_NAME = re.compile(f"(\\\\*)({_ODD}|#(?=(?:part-)?[0-9]+\\Z))")
"""Also a # that would read as a row of a table, or as a part of a long document."""
_LITERAL = re.compile(r"(\\+)(?=x[0-9a-f]{2}|u[0-9a-f]{4})")
_SPELLED = re.compile(r"(\\+)(?:x([0-9a-f]{2})|u([0-9a-f]{4}))")


def spelled(text: str) -> str:
    r"""A path or pattern as the system gave it, in characters that everything can store; see ``unspelled``.

    >>> spelled("caf\udce9.txt"), spelled("a\nb"), spelled(r"a\x41"), spelled(r"a\b")
    ('caf\\xe9.txt', 'a\\x0ab', 'a\\\\x41', 'a\\b')
    """
    return _spelled(text, _IN_TEXT)


def document_name(path: str) -> str:
    r"""The name of a document, as ``spelled``; none of them reads as a row (``table.csv#2``) or a part of another.

    >>> document_name("b.csv#2"), document_name("c#.txt")
    ('b.csv\\x232', 'c#.txt')
    """
    return _spelled(path, _IN_NAME)


def unspelled(text: str) -> str:
    r"""What ``spelled`` or ``document_name`` made this of, for the file system.

    >>> unspelled(r"caf\xe9.txt"), unspelled(r"a\\x41"), unspelled(r"a\b"), unspelled(r"b.csv\x232")
    ('caf\udce9.txt', 'a\\x41', 'a\\b', 'b.csv#2')
    """

    def original(match: re.Match[str]) -> str:
        slashes = len(match[1])
        literal = "\\" * (slashes // 2)
        if slashes % 2 == 0:
            return literal + match[0][slashes:]
        if match[3] is not None:
            return literal + chr(int(match[3], 16))
        number = int(match[2], 16)
        return literal + chr(number + 0xDC00 if number >= 0x80 else number)

    return _SPELLED.sub(original, text)


def _spelled(text: str, odd: re.Pattern[str]) -> str:
    text = _LITERAL.sub(lambda match: match[1] * 2, text)
    return odd.sub(lambda match: match[1] * 2 + _escape(match[2]), text)


def _escape(sign: str) -> str:
    number = ord(sign)
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    return f"\\x{number:02x}" if number < 0x80 else f"\\u{number:04x}"
