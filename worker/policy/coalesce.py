"""Decides which runner serves which of the queued runner keys.

A job that named no window may ride on a larger one of its model (``num_ctx>=8192``), and two names of one model's weights
share a runner (``server/sched.go``: runners are known by the model's path). So what waits is put together before anything
is decided: eight windows of a model are one load, not eight.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

from worker.domain.runners import RunnerKey, concrete
from worker.records import record

MOST_GROWTH = 4
"""A job rides on a window at most so many times larger than it needs, unless that is loaded already: the memory for a
window grows with it, and one long document must not push a model's short jobs onto the CPU."""


@record
class Group:
    """Queued runner keys that one runner serves."""

    runner_key: str
    """What is, or would be, loaded."""
    members: tuple[str, ...]
    """The keys as they are queued."""


def coalesce(
    queued: Sequence[str],
    *,
    resident: Collection[str] = (),
    elsewhere: Collection[str] = (),
    blocked: Collection[str] = (),
    weights: Mapping[str, str] | None = None,
) -> list[Group]:
    """Put the ``queued`` keys together by the runner that would serve them on a host.

    ``resident`` runners of the host come first, whatever their size; then those that are loaded ``elsewhere``, since
    two hosts with one runner share its work; then the largest window that is asked for. ``blocked`` keys are not made
    larger into. ``weights``: model → what it shares with its other names, where the host tells.

    >>> coalesce(["m:1 num_ctx>=4096", "m:1 num_ctx>=8192"])
    [Group(runner_key='m:1 num_ctx=8192', members=('m:1 num_ctx>=4096', 'm:1 num_ctx>=8192'))]
    """
    shared = frozenset((weights or {}).items())
    return list(_groups(tuple(queued), tuple(resident), frozenset(elsewhere), frozenset(blocked), shared))


@lru_cache(maxsize=16)
def _groups(
    queued: tuple[str, ...],
    resident: tuple[str, ...],
    elsewhere: frozenset[str],
    blocked: frozenset[str],
    shared: frozenset[tuple[str, str]],
) -> tuple[Group, ...]:
    """Kept, since from one decision to the next the keys are mostly the same."""
    weights = dict(shared)
    members: dict[str, list[str]] = {}
    families: dict[tuple[object, ...], list[str]] = {}
    for text in queued:
        families.setdefault(_family(text, weights), []).append(text)
    here, there = _by_family(resident, weights), _by_family(elsewhere, weights)
    for family, texts in families.items():
        exact = [text for text in texts if not _parse(text).at_least]
        loose = sorted(
            (text for text in texts if _parse(text).at_least), key=lambda entry: (-_window(entry), entry)
        )
        targets: list[str] = []
        for text in exact:
            target = _same(text, here.get(family, ()))
            if target not in targets:
                targets.append(target)
            members.setdefault(target, []).append(text)
        targets += [key for key in here.get(family, ()) if key not in targets]
        for text in loose:
            target = (
                _smallest(text, here.get(family, ()), growth=None)
                or _smallest(text, [key for key in there.get(family, ()) if key not in blocked])
                or _smallest(text, [key for key in targets if key not in blocked])
                or _loaded_for(text)
            )
            if target not in targets:
                targets.append(target)
            members.setdefault(target, []).append(text)
    return tuple(Group(key, tuple(sorted(texts))) for key, texts in sorted(members.items()))


@lru_cache(maxsize=10_000)
def _parse(text: str) -> RunnerKey:
    return RunnerKey.parse(text)


@lru_cache(maxsize=10_000)
def _loaded_for(text: str) -> str:
    return concrete(_parse(text)).text


def _family(text: str, weights: Mapping[str, str]) -> tuple[object, ...]:
    """What two keys must share to differ in their window alone."""
    key = _parse(text)
    options = tuple(option for option in key.options if option[0] != "num_ctx")
    return weights.get(key.model, key.model), options, key.shift


def _by_family(texts: Collection[str], weights: Mapping[str, str]) -> dict[tuple[object, ...], list[str]]:
    families: dict[tuple[object, ...], list[str]] = {}
    for text in sorted(texts):
        families.setdefault(_family(text, weights), []).append(text)
    return families


def _window(text: str) -> int:
    """Its num_ctx; 0 where the host's own default holds, which is at least as large as nothing."""
    return int(dict(_parse(text).options).get("num_ctx", 0))


def _same(text: str, runners: Sequence[str]) -> str:
    """The runner of the same window under another of the model's names, else the key itself."""
    return next((runner for runner in runners if _window(runner) == _window(text)), text)


def _smallest(text: str, runners: Sequence[str], growth: int | None = MOST_GROWTH) -> str | None:
    """The smallest runner that is large enough, and not ``growth`` times too large."""
    least = _window(text)
    fits = [
        runner
        for runner in runners
        if _window(runner) >= least and (growth is None or _window(runner) <= growth * least)
    ]
    return min(fits, key=lambda runner: (_window(runner), runner), default=None)
