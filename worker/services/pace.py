"""How fast is a runner key here? Learned from what was seen, the newest counting most."""

from collections.abc import Mapping

from worker.policy.choose import Pace

WEIGHT = 0.3


class Paces:
    """Load and service seconds per runner key, exponentially weighted."""

    def __init__(self, known: Mapping[str, Pace] | None = None) -> None:
        self._known: dict[str, Pace] = dict(known or {})

    @property
    def known(self) -> Mapping[str, Pace]:
        return self._known

    def served(self, runner_key: str, seconds: float) -> None:
        """One job of ``runner_key`` kept a slot for ``seconds``."""
        pace = self._known.get(runner_key)
        if pace is None:
            self._known[runner_key] = Pace(service_seconds=seconds)
        else:
            self._known[runner_key] = Pace(pace.load_seconds, _towards(pace.service_seconds, seconds))

    def loaded(self, runner_key: str, seconds: float) -> None:
        """A load of ``runner_key`` took ``seconds``."""
        pace = self._known.get(runner_key)
        if pace is not None:
            self._known[runner_key] = Pace(_towards(pace.load_seconds, seconds), pace.service_seconds)


def _towards(old: float, seen: float) -> float:
    return old + WEIGHT * (seen - old)
