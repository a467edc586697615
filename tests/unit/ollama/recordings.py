"""What two real servers sent: the exchanges of ``tests/contract/transcripts``, as a client met them."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "contract" / "transcripts"
VERSIONS = ("ollama-0.24.0", "ollama-0.33.0-rc2")
_LEFT_OUT = "lines left out"


@dataclass(frozen=True)
class Exchange:
    """One request and what came back. ``whole``: no line was left out when it was written down."""

    version: str
    scene: str
    label: str
    path: str
    request: Any
    status: int | None
    content_type: str
    lines: tuple[str, ...]
    whole: bool
    cut: bool
    """The client hung up, or the connection broke."""

    @property
    def body(self) -> bytes:
        return "".join(self.lines).encode()

    @property
    def id(self) -> str:
        return f"{self.version.removeprefix('ollama-')} {self.scene}: {self.label}"


@functools.cache
def exchanges(version: str, scene: str) -> tuple[Exchange, ...]:
    recorded = json.loads((FOLDER / version / f"{scene}.json").read_text())
    return tuple(_exchange(version, scene, one) for one in recorded["exchanges"] if "request" in one)


def exchange(version: str, scene: str, label: str) -> Exchange:
    """The exchange of that label; an end that is the same in several labels finds the first."""
    return next(one for one in exchanges(version, scene) if one.label == label)


def all_generate() -> list[Exchange]:
    """Every 200 of ``/api/generate`` whose lines are all there."""
    scenes = sorted(file.stem for file in (FOLDER / VERSIONS[0]).glob("*.json"))
    return [
        one
        for version in VERSIONS
        for scene in scenes
        for one in exchanges(version, scene)
        if one.path == "/api/generate" and one.status == 200 and one.whole
    ]


def _exchange(version: str, scene: str, one: dict[str, Any]) -> Exchange:
    response = one.get("response") or {}
    lines = response.get("lines") or []
    request = one["request"]
    return Exchange(
        version,
        scene,
        one.get("label") or request["path"],
        request["path"],
        _parsed(request.get("body")),
        response.get("status"),
        (response.get("headers") or {}).get("content-type", ""),
        tuple(text for at, text in lines if at is not None),
        all(at is not None for at, _ in lines),
        "closed_by_client_ms" in one or "client_error" in one,
    )


def _parsed(body: object) -> Any:
    try:
        return json.loads(body) if isinstance(body, str) else None
    except ValueError:
        return None
