"""What the simulator does not do as recorded, and why. Nothing else may differ."""

from collections.abc import Mapping

ANY = "*"

EXCEPTIONS: Mapping[tuple[str, str, str], str] = {
    (
        ANY,
        "openai",
        "json_schema",
    ): "/v1 samples with temperature 1, so that nobody foresees what a grammar leaves open",
    (
        ANY,
        "openai",
        "json_object",
    ): "/v1 samples with temperature 1, so that nobody foresees what a grammar leaves open",
    (
        ANY,
        "chat",
        "think with format",
    ): "it follows a format at once, without a call for the reasoning before it",
    (
        ANY,
        "chat-tools",
        "format beside tools",
    ): "where a grammar leaves a choice, it goes on with white space",
    (
        "H",
        "chat-window",
        "the answer fills the window, shift false",
    ): "the server ended one token before its window was full",
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
