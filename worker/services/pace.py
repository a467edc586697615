"""How fast is a runner key here? Learned from what was seen, the newest counting most; other hosts' where it was not."""

from collections.abc import Iterable, Mapping
from statistics import fmean

from worker.policy.choose import Pace
from worker.storage.paces import PaceSeen

WEIGHT = 0.3


class Paces:
    """Load and service seconds per runner key on ``host``, exponentially weighted.

    Only the thread that serves the host calls the methods.
    """

    def __init__(self, host: str = "") -> None:
        self._host = host
        self._loads: dict[str, float] = {}
        self._services: dict[str, float] = {}
        self._elsewhere: dict[str, Pace] = {}
        self._known: dict[str, Pace] | None = {}
        self._unsaved: set[str] = set()
        self.newly_known = False
        """A key was seen for the first time: worth telling the other hosts at once."""

    @property
    def known(self) -> Mapping[str, Pace]:
        """What to expect of each key that was seen anywhere."""
        if self._known is None:
            keys = self._loads.keys() | self._services.keys() | self._elsewhere.keys()
            self._known = {key: self._pace(key) for key in keys}
        return self._known

    def service_seconds(self, runner_key: str | None) -> float | None:
        """Seconds that one job keeps a slot here; None before one has."""
        return None if runner_key is None else self._services.get(runner_key)

    def served(self, runner_key: str, seconds: float) -> None:
        """One job of ``runner_key`` kept a slot for ``seconds``."""
        self._see(self._services, runner_key, seconds)

    def loaded(self, runner_key: str, seconds: float) -> None:
        """A load of ``runner_key`` took ``seconds``."""
        self._see(self._loads, runner_key, seconds)

    def learn(self, seen: Iterable[PaceSeen]) -> None:
        """Take in what the database knows: this host's own from an earlier process, and the other hosts'."""
        loads: dict[str, list[float]] = {}
        services: dict[str, list[float]] = {}
        for pace in seen:
            if pace.host == self._host:
                if pace.load_seconds is not None:
                    self._loads.setdefault(pace.runner_key, pace.load_seconds)
                if pace.service_seconds is not None:
                    self._services.setdefault(pace.runner_key, pace.service_seconds)
                continue
            if pace.load_seconds is not None:
                loads.setdefault(pace.runner_key, []).append(pace.load_seconds)
            if pace.service_seconds is not None:
                services.setdefault(pace.runner_key, []).append(pace.service_seconds)
        self._elsewhere = {
            key: Pace(
                fmean(loads[key]) if key in loads else Pace().load_seconds,
                fmean(services[key]) if key in services else Pace().service_seconds,
            )
            for key in loads.keys() | services.keys()
        }
        self._known = None

    def unsaved(self) -> list[PaceSeen]:
        """What changed since it was last asked for, to be written down."""
        changed, self._unsaved, self.newly_known = sorted(self._unsaved), set(), False
        return [PaceSeen(self._host, key, self._loads.get(key), self._services.get(key)) for key in changed]

    def _see(self, known: dict[str, float], runner_key: str, seconds: float) -> None:
        old = known.get(runner_key)
        if old is None:
            self.newly_known = True
        known[runner_key] = seconds if old is None else old + WEIGHT * (seconds - old)
        self._unsaved.add(runner_key)
        self._known = None

    def _pace(self, key: str) -> Pace:
        prior = self._elsewhere.get(key, Pace())
        return Pace(self._loads.get(key, prior.load_seconds), self._services.get(key, prior.service_seconds))
