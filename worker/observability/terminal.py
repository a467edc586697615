"""Makes text from elsewhere harmless for a terminal."""

import re

# C0 but for tab and line feed, DEL, C1, and the marks that end lines, or embed, override or isolate the direction
# of text. Marks that only say in which direction a letter goes belong to Arabic and Hebrew.
_UNSAFE = re.compile("\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def terminal_safe(text: str) -> str:
    r"""``text`` in which nothing steers a terminal: control and direction characters are spelt as JSON spells them.

    A line of JSON keeps its meaning. Tabs and line ends stay.

    >>> terminal_safe("a\x1b]0;title\x07b"), terminal_safe('{"id": "\x9b2J"}')
    ('a\\u001b]0;title\\u0007b', '{"id": "\\u009b2J"}')
    """
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
