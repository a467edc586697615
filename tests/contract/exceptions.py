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
