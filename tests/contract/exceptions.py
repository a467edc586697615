"""What the simulator does not do as recorded, and why. Nothing else may differ."""

from collections.abc import Mapping

ANY = "*"

EXCEPTIONS: Mapping[tuple[str, str, str], str] = {
    (
        ANY,
        "models",
        "not there",
    ): "the server had two further models (gemma, smol) that models.json does not describe",
    (
        "H",
        "models",
        "show what was made",
    ): "its weights file was written by the other version, in another order",
    ("H", "models", "show verbose"): "its weights file was written by the other version, in another order",
}
"""(line or ``*``, scene, label or number of the exchange) → the reason why its differences do not count."""


def reason(line: str, scene: str, label: str, number: int) -> str | None:
    """Why an exchange may differ; None if it may not."""
    for who in (line, ANY):
        for which in (label, str(number)):
            found = EXCEPTIONS.get((who, scene, which))
            if found is not None:
                return found
    return None
