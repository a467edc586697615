"""Whether an exchange went as recorded: everything but times, hashes and sizes must be the same."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tests.contract.recording import LEFT_OUT, Answer, Scene
from tests.contract.replay import RACE_MS, Played

VOLATILE = {
    "created_at",
    "modified_at",
    "expires_at",
    "digest",
    "size",
    "size_vram",
    "total_duration",
    "load_duration",
    "prompt_eval_duration",
    "eval_duration",
    "id",
    "item_id",
    "created",
    "completed_at",
    "modelfile",
    "parent_model",
    "parameter_size",
    "general.parameter_count",
}
"""Fields that must be there, in their place, whatever their value."""

RELOAD_MS = 150.0
"""A load_duration above this was a load, or a wait for one; resident models were granted within 17 ms."""

SLOT_WAIT_MS = 400.0
"""A wait for a slot that is none of the noise of two busy cores."""

SILENCE_MS = 2_000.0
"""A pause within a stream that no token takes."""

ORDER_MS = 60.0
"""Ends closer together than this say nothing about order."""

_DIGEST = re.compile(r"[0-9a-f]{64}|(?<=^pulling )[0-9a-f]{12}$|(?<=^pushing )[0-9a-f]{12}$")
_MORE = re.compile(r"(\d+) more")


def differences(one: Played) -> Iterator[str]:
    """How an exchange differs from the recorded one; nothing if it does not."""
    exchange, reply = one.exchange, one.reply
    recorded_error = (exchange.client_error or "").split(":")[0] or None
    if recorded_error != reply.client_error:
        yield f"client error {reply.client_error}, recorded {recorded_error}"
    if exchange.answer is None:
        if reply.status is not None:
            yield f"status {reply.status}, recorded none"
        return
    recorded = exchange.answer
    if reply.status != recorded.status:
        yield f"status {reply.status}, recorded {recorded.status}: {[text for _, text in reply.lines][:2]}"
        return
    content_type = reply.headers.get("content-type")
    if content_type != recorded.content_type:
        yield f"content type {content_type}, recorded {recorded.content_type}"
    if ("transfer-encoding" in reply.headers) != recorded.is_chunked and not _near_the_limit(one):
        yield f"chunked: {'transfer-encoding' in reply.headers}, recorded {recorded.is_chunked}"
    yield from _line_differences(recorded, [text for _, text in reply.lines])
    yield from _silence_differences(recorded, [at * 1e3 for at, _ in reply.lines])
    yield from _duration_differences(recorded, reply.lines)


def cached_prompts(played: Sequence[Played]) -> list[tuple[bool, bool]]:
    """For each answer after the first, whether its prompt was read at a small part of the first one's cost: here,
    and as recorded."""
    here, recorded = [], []
    for one in played:
        assert one.exchange.answer is not None
        here.append(_object(one.reply.lines[-1][1])["prompt_eval_duration"])
        recorded.append(_object(one.exchange.answer.lines[-1][1])["prompt_eval_duration"])
    return [
        (mine < here[0] / 10, theirs < recorded[0] / 10)
        for mine, theirs in zip(here[1:], recorded[1:], strict=True)
    ]


def order_differences(played: Sequence[Played]) -> Iterator[str]:
    """Pairs of exchanges that ended in another order than recorded."""
    ended = [one for one in played if one.exchange.answer is not None and one.reply.ended is not None]
    for first in ended:
        for second in ended:
            clear = second.exchange.over_ms - first.exchange.over_ms > max(ORDER_MS, RACE_MS)
            if clear and first.over_at > second.over_at + 1e-9:
                yield f"[{first.exchange}] ended after [{second.exchange}], recorded before"


def residency_differences(scene: Scene, played: Sequence[Played]) -> Iterator[str]:
    """Whether ``expires_at`` of /api/ps lies as far ahead as recorded, within a second."""
    start = _recorded_start(scene)
    here = _start_here(played)
    for one in played:
        if one.exchange.path != "/api/ps" or one.exchange.answer is None or not one.reply.lines:
            continue
        recorded = _expiries(one.exchange.answer.lines[0][1])
        found = _expiries(one.reply.lines[0][1])
        for name, at in recorded.items():
            if name not in found or start is None or here is None:
                continue
            ahead = (at - start).total_seconds() - one.exchange.at_ms / 1e3
            ahead_here = (found[name] - here).total_seconds() - one.sent_at
            if abs(ahead - ahead_here) > 1.0 and not (ahead > 1e9 and ahead_here > 1e9):
                yield f"[{one.exchange}] {name} expires in {ahead_here:.1f} s, recorded {ahead:.1f} s"


def _near_the_limit(one: Played) -> bool:
    """A body of about 2,048 bytes is chunked or not after the digits of its durations."""
    assert one.exchange.answer is not None
    size = sum(len(text.encode()) for _, text in one.exchange.answer.lines)
    return 1_990 < size < 2_110


def _line_differences(recorded: Answer, lines: Sequence[str]) -> Iterator[str]:
    expected = list(_expanded(recorded.lines, lines))
    layers, recorded_layers = _layers(lines), _layers(expected)
    if recorded_layers:
        # how often progress is told, and of which of several layers, is a matter of time
        if len(layers) < len(recorded_layers):
            yield f"{len(layers)} layers, recorded {len(recorded_layers)}"
        lines = [line for line in lines if "total" not in _object(line)]
        expected = [line for line in expected if "total" not in _object(line)]
    if len(lines) != len(expected):
        yield f"{len(lines)} lines, recorded {len(expected)}; the last: {lines[-1:]}, {expected[-1:]}"
        return
    for number, (line, wanted) in enumerate(zip(lines, expected, strict=True)):
        if line.endswith("\n") != wanted.endswith("\n"):
            yield f"line {number}: line end {line.endswith(chr(10))}, recorded {wanted.endswith(chr(10))}"
        found, value = _read(line), _read(wanted)
        if found != value:
            yield f"line {number}: {_shown(found, value)}"


def _layers(lines: Sequence[str]) -> set[str]:
    """The layers of which a pull or push tells, with the fields that it tells."""
    told = [_object(line) for line in lines]
    return {f"{one['digest']} {list(one)}" for one in told if "total" in one and "digest" in one}


def _silence_differences(recorded: Answer, times: Sequence[float]) -> Iterator[str]:
    """Where a stream paused for seconds, it pauses; nowhere else."""
    there: list[float | None] = []
    for at, text in recorded.lines:
        cut = LEFT_OUT.search(text) if at is None else None
        there += [None] * int(cut[1]) if cut else [at]
    for number in range(1, min(len(times), len(there))):
        before, after = there[number - 1], there[number]
        if before is None or after is None:
            continue
        pause = times[number] - times[number - 1]
        if (pause > SILENCE_MS) != (after - before > SILENCE_MS):
            yield f"{pause:.0f} ms before line {number}, recorded {after - before:.0f} ms"


def _expanded(recorded: Sequence[tuple[float | None, str]], lines: Sequence[str]) -> Iterator[str]:
    """The recorded lines; where some were left out, whatever came is taken."""
    place = 0
    for at, text in recorded:
        cut = LEFT_OUT.search(text) if at is None else None
        if cut is None:
            yield text
            place += 1
        else:
            count = int(cut[1])
            yield from lines[place : place + count]
            place += count


def _read(line: str) -> Any:
    """A line as a value that can be compared: volatile fields keep their place and lose their value."""
    text = line.rstrip("\n").removeprefix("data: ")
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return _masked(value)


def _masked(value: Any) -> Any:
    match value:
        case dict():
            return [(key, "…" if key in VOLATILE else _masked_field(key, one)) for key, one in value.items()]
        case list():
            return [_masked(one) for one in value]
        case str():
            return _DIGEST.sub("…", value)
        case _:
            return value


def _masked_field(key: str, value: Any) -> Any:
    if key == "embedding" and isinstance(value, str):
        return ("bytes of a vector", len(value))
    if key == "arguments" and isinstance(value, str):
        value = json.loads(value)
    if key == "arguments" and isinstance(value, dict):  # a Go map: in any order
        return sorted((name, _masked(one)) for name, one in value.items())
    if key == "embedding" and isinstance(value, list):
        return _vectors([value])
    if key == "embeddings":
        return _vectors(value)
    if key == "parameters" and isinstance(value, str):  # a Go map: in any order
        return sorted(value.split("\n"))
    if key in ("models", "data") and isinstance(value, list) and value and "name" in value[0] | {"name": 0}:
        return sorted((_masked(one) for one in value), key=str)
    return _masked(value)


def _vectors(values: Sequence[Sequence[Any]]) -> list[Any]:
    """Vectors of whole numbers as they are; of others how long they are, and which of them are equal."""
    return [
        one if all(isinstance(number, int) for number in one) else (_dimensions(one), values.index(one))
        for one in values
    ]


def _dimensions(vector: Sequence[Any]) -> int:
    """How many numbers a vector has, or had before it was cut in the recording."""
    cut = _MORE.fullmatch(vector[-1]) if isinstance(vector[-1], str) else None
    return len(vector) - 1 + int(cut[1]) if cut else len(vector)


def _shown(found: Any, wanted: Any) -> str:
    if isinstance(found, list) and isinstance(wanted, list):
        for one, other in zip(found, wanted, strict=False):
            if one != other:
                return f"{str(one)[:300]}, recorded {str(other)[:300]}"
        return (
            f"{len(found)} fields, recorded {len(wanted)}: {str(found[-1:])[:200]}, {str(wanted[-1:])[:200]}"
        )
    return f"{str(found)[:300]}, recorded {str(wanted)[:300]}"


def _duration_differences(recorded: Answer, lines: Sequence[tuple[float, str]]) -> Iterator[str]:
    """Total is at least load, prompt and answer; a load is where one was recorded."""
    if not lines or not recorded.lines:
        return
    found, wanted = _object(lines[-1][1]), _object(recorded.lines[-1][1])
    if "total_duration" not in found or "total_duration" not in wanted or "embeddings" in found:
        return
    parts = sum(found.get(name, 0) for name in ("load_duration", "prompt_eval_duration", "eval_duration"))
    if found["total_duration"] < parts:
        yield f"total {found['total_duration']} is less than its parts {parts}"
    yield from _waits(found, wanted)
    waited = found["load_duration"] / 1e6
    recorded_wait = wanted["load_duration"] / 1e6
    if (waited > RELOAD_MS) != (recorded_wait > RELOAD_MS):
        yield f"load_duration {waited:.0f} ms, recorded {recorded_wait:.0f} ms"


def _waits(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """The wait for a slot is what total has beyond its parts: there is one where one was recorded."""
    here, recorded = _slot_wait_ms(found), _slot_wait_ms(wanted)
    if recorded > SLOT_WAIT_MS and here < SLOT_WAIT_MS / 4:
        yield f"waited {here:.0f} ms for a slot, recorded {recorded:.0f} ms"
    if recorded < SLOT_WAIT_MS / 4 and here > SLOT_WAIT_MS:
        yield f"waited {here:.0f} ms for a slot, recorded {recorded:.0f} ms"


def _slot_wait_ms(value: Mapping[str, Any]) -> float:
    parts = ("load_duration", "prompt_eval_duration", "eval_duration")
    whole: float = value["total_duration"] - sum(value.get(name, 0) for name in parts)
    return whole / 1e6


def _object(line: str) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _expiries(line: str) -> dict[str, datetime]:
    models = _object(line).get("models", [])
    return {model["name"]: _time(model["expires_at"]) for model in models}


def _recorded_start(scene: Scene) -> datetime | None:
    """When the scene began, by the first time stamp in it."""
    for exchange in scene.exchanges:
        for at, line in exchange.answer.lines if exchange.answer else ():
            stamp = _object(line).get("created_at")
            if at is not None and isinstance(stamp, str):
                return datetime.fromtimestamp(_time(stamp).timestamp() - at / 1e3, UTC)
    return None


def _start_here(played: Sequence[Played]) -> datetime | None:
    for one in played:
        for at, line in one.reply.lines:
            stamp = _object(line).get("created_at")
            if isinstance(stamp, str):
                return datetime.fromtimestamp(_time(stamp).timestamp() - at, UTC)
    return None


def _time(text: str) -> datetime:
    head, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{head}.{(fraction + '000000')[:6]}+00:00")
