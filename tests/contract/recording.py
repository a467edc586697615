"""What was recorded: scenes of exchanges, each with its request, its lines and when they came."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from simulator import Line

FOLDER = Path(__file__).parent / "transcripts"
VERSIONS: Mapping[Line, str] = {"O": "ollama-0.24.0", "H": "ollama-0.33.0-rc2"}


LEFT_OUT = re.compile(r"\.\.\. (\d+) lines left out \.\.\.")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``lines`` are (milliseconds, text); None as time marks a cut in the recording."""

    status: int
    headers: Mapping[str, str]
    lines: tuple[tuple[float | None, str], ...]
    end_ms: float

    @property
    def content_type(self) -> str | None:
        return self.headers.get("content-type")

    @property
    def is_chunked(self) -> bool:
        return "transfer-encoding" in self.headers


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what became of it. ``over_ms`` is when it ended, in whatever way."""

    number: int
    label: str
    at_ms: float
    method: str
    path: str
    body: bytes
    answer: Answer | None
    closed_by_client_ms: float | None
    client_error: str | None
    over_ms: float

    @property
    def wanted_model(self) -> str | None:
        try:
            value = json.loads(self.body)
        except ValueError:
            return None
        return value.get("model") if isinstance(value, dict) else None

    def __str__(self) -> str:
        return f"{self.number} {self.label or self.path}"


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene as one server played it."""

    name: str
    line: Line
    env: Mapping[str, str]
    runner_starts: int
    exchanges: tuple[Exchange, ...]


def line_count(recorded: Answer) -> int:
    """How many lines there were, those left out included."""
    return sum(
        int(cut[1]) if at is None and (cut := LEFT_OUT.search(text)) else 1 for at, text in recorded.lines
    )


@lru_cache(maxsize=64)
def scene(line: Line, name: str) -> Scene:
    """Read a scene."""
    data = json.loads((FOLDER / VERSIONS[line] / f"{name}.json").read_text())
    exchanges = tuple(_exchange(number, one) for number, one in enumerate(data["exchanges"]))
    return Scene(name, line, data["server"]["env"], data["runner_starts_in_log"], exchanges)


def scene_names() -> list[str]:
    """All scenes, by name."""
    return sorted(path.stem for path in (FOLDER / VERSIONS["O"]).glob("*.json"))


def scripted_models() -> dict[str, Any]:
    """The description of the recorded models."""
    value: dict[str, Any] = json.loads((FOLDER / "models.json").read_text())
    return value


def _exchange(number: int, data: Mapping[str, Any]) -> Exchange:
    request = data["request"]
    body = (request.get("body") or "").encode()
    if "body_base64" in request:
        body = base64.b64decode(request["body_base64"])
    response = data.get("response")
    answer = None
    if response is not None and "status" in response:
        lines = tuple((at, text) for at, text in response.get("lines", []))
        answer = Answer(response["status"], response["headers"], lines, response["end_ms"])
    closed = data.get("closed_by_client_ms")
    ends = [closed, data.get("failed_ms"), answer.end_ms if answer else None]
    return Exchange(
        number,
        data.get("label") or "",
        data["at_ms"],
        request["method"],
        request["path"],
        body,
        answer,
        closed,
        data.get("client_error"),
        next(float(end) for end in ends if end is not None),
    )
