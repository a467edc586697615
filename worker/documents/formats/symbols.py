"""Signs of Word's symbol fonts as Unicode."""

_SYMBOL = dict(
    zip(
        range(0x41, 0x7B),
        "ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ",
        strict=True,
    )
) | {0xA3: "≤", 0xA5: "∞", 0xAB: "↔", 0xAC: "←", 0xAD: "↑", 0xAE: "→", 0xAF: "↓", 0xB0: "°", 0xB1: "±", 0xB3: "≥",
     0xB4: "×", 0xB7: "•", 0xB8: "÷", 0xB9: "≠", 0xBA: "≡", 0xBB: "≈", 0xC6: "∅", 0xC7: "∩", 0xC8: "∪", 0xCE: "∈",
     0xD2: "®", 0xD3: "©", 0xD4: "™", 0xD5: "∏", 0xD6: "√", 0xE5: "∑", 0xF2: "∫"}  # fmt: skip
_WINGDINGS = {0x28: "☎", 0x2A: "✉", 0x4A: "☺", 0x6C: "●", 0x6E: "■", 0x6F: "☐", 0x71: "☐", 0x72: "☐", 0x76: "❖",
              0x78: "☒", 0xA7: "▪", 0xA8: "☐", 0xD8: "➢", 0xE0: "→", 0xDF: "←", 0xE8: "➔", 0xF0: "⇨", 0xFB: "✗",
              0xFC: "✓", 0xFD: "☒", 0xFE: "☑"}  # fmt: skip
_WINGDINGS_2 = {0x50: "✓", 0x4F: "✗", 0x51: "☒", 0x52: "☑", 0x53: "☒", 0x54: "☒", 0xA3: "☐"}
_FONTS = {"symbol": _SYMBOL, "wingdings": _WINGDINGS, "wingdings 2": _WINGDINGS_2}
UNKNOWN = "\N{REPLACEMENT CHARACTER}"


def symbol(font: str, code: str) -> str:
    """The sign of a font; U+FFFD where it has no character in Unicode that is known here.

    >>> symbol("Wingdings", "F0FE"), symbol("Symbol", "F061"), symbol("Arial", "20AC")
    ('☑', 'α', '€')
    """
    try:
        number = int(code, 16)
    except ValueError:
        return UNKNOWN
    place = number - 0xF000 if 0xF000 <= number <= 0xF0FF else number
    signs = _FONTS.get(font.strip().lower())
    if signs is not None and place in signs:
        return signs[place]
    if 0xE000 <= number <= 0xF8FF or not 0x20 <= number <= 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        return UNKNOWN
    return chr(number) if signs is None else UNKNOWN
