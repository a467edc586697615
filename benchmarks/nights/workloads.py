"""What is asked in a night, and of which hosts? Pure: a name and a size in, the jobs of every line out."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

_LETTER = (
    "A customer writes: the parcel {n} was to come on Monday, it is Thursday now, nobody rang and the page still "
    "says that it is on its way. She moved house last month and asks whether the old address may be on the label. "
    "Sum up in two sentences what she wants, and name the one question that has to be answered first."
)
_CLAUSES = (
    "The buyer carries the risk from the moment of loading in {place}, lot {n}.",
    "Deliveries to {place} are announced {n} hours before, in writing, to both offices.",
    "For every day of delay {n} parts in ten thousand of the price are due in {place}.",
    "Samples from {place} are kept for {n} weeks and shown to the buyer on request.",
    "The seller insures the goods on the way to {place} for {n} hundredths of their price.",
    "Whoever finds a fault tells the other within {n} days, with pictures, at {place}.",
)
_PLACES = ("Porto", "Genoa", "Rostock", "Bergen", "Varna", "Cork", "Gdansk", "Split", "Turku", "Nantes")
QUESTIONS = (
    "Who carries the risk on the way?",
    "What is due for a delay?",
    "How long are samples kept?",
    "Name every place that is mentioned.",
    "Which clause helps the buyer most?",
    "Sum the contract up in one sentence.",
)
NUM_PREDICT = 256
"""More than any answer has: nothing is cut."""


@dataclass(frozen=True, slots=True)
class Job:
    """One line of the input. ``group`` is what its prompt begins with."""

    custom_id: str
    model: str
    prompt: str

    def line(self) -> str:
        return json.dumps(
            {
                "custom_id": self.custom_id,
                "model": self.model,
                "prompt": self.prompt,
                "options": {"num_predict": NUM_PREDICT},
            }
        )


@dataclass(frozen=True, slots=True)
class Fleet:
    """Hosts that are all alike. Speeds are those of one request alone, at time scale 1.

    ``slot_cost`` is what each further request under way adds to the time of a token; ``time_scale`` multiplies every
    duration: at 0.1 a load of 10 seconds takes one.
    """

    hosts: int
    slots: int = 4
    models_at_once: int = 1
    load_seconds: float = 6.0
    tokens_per_second: float = 35.0
    prompt_tokens_per_second: float = 1_000.0
    slot_cost: float = 0.25
    time_scale: float = 0.1

    @property
    def load(self) -> float:
        """How long a load takes, in seconds of this machine."""
        return self.load_seconds * self.time_scale

    @property
    def host_seconds_per_second(self) -> float:
        """What a host with all slots busy gets done of work that is measured alone, at time scale 1, per second."""
        return self.slots / (1 + self.slot_cost * (self.slots - 1)) / self.time_scale

    def host_seconds(self, prompt_tokens: int, output_tokens: int) -> float:
        """Seconds of a host with all slots busy that reading and answering take. A first token costs nothing more."""
        alone = prompt_tokens / self.prompt_tokens_per_second
        alone += max(0, output_tokens - 1) / self.tokens_per_second
        return alone / self.host_seconds_per_second


@dataclass(frozen=True, slots=True)
class Workload:
    """One night."""

    name: str
    about: str
    fleet: Fleet
    models: Sequence[str]
    jobs: Sequence[Job]
    document_tokens: int = 0
    """Of the documents that prompts begin with; 0 where they share nothing."""

    def part(self, share: float) -> "Workload":
        """The first ``share`` of its lines, on the same hosts."""
        return replace(self, jobs=self.jobs[: max(1, round(len(self.jobs) * share))])

    def write(self, path: Path) -> Path:
        """Its lines into a file."""
        path.write_text("".join(f"{job.line()}\n" for job in self.jobs), encoding="utf-8")
        return path


def interleaved(size: float, seed: int) -> Workload:
    """W1: three models in turn, one host that holds one of them."""
    models = _models(3)
    jobs = [
        Job(f"w1-{n}", models[n % 3], _LETTER.format(n=seed * 100_000 + n)) for n in range(round(840 * size))
    ]
    return Workload("W1", "3 models in turn, 1 host", Fleet(hosts=1), models, jobs)


def zipf(size: float, seed: int) -> Workload:
    """W2: ten models, the n-th of them asked 1/n as often as the first, in any order; four hosts that hold two each."""
    models = _models(10)
    count = round(3_400 * size)
    weights = [1 / n for n in range(1, len(models) + 1)]
    asked = [
        model
        for model, weight in zip(models, weights, strict=True)
        for _ in range(max(1, round(count * weight / sum(weights))))
    ]
    random.Random(seed).shuffle(asked)
    jobs = [Job(f"w2-{n}", model, _LETTER.format(n=seed * 100_000 + n)) for n, model in enumerate(asked)]
    return Workload("W2", "10 models, Zipf, 4 hosts × 2", Fleet(hosts=4, models_at_once=2), models, jobs)


def documents(size: float, seed: int) -> Workload:
    """W7: six questions about each document, question by question; two models, two hosts that hold one each."""
    models = _models(2)
    count = 2 * max(1, round(97 * size))
    texts = [_document(seed * 100_000 + n) for n in range(count)]
    jobs = [
        Job(f"w7-{n}-{number}", models[n % 2], f"{text}\n\n{question}")
        for number, question in enumerate(QUESTIONS)
        for n, text in enumerate(texts)
    ]
    fleet = Fleet(hosts=2, load_seconds=10.0, tokens_per_second=30.0, prompt_tokens_per_second=500.0)
    about = "documents × 6 questions, 2 models, 2 hosts"
    return Workload("W7", about, fleet, models, jobs, document_tokens=_TOKENS_PER_DOCUMENT)


WORKLOADS: Mapping[str, Callable[[float, int], Workload]] = {
    "W1": interleaved,
    "W2": zipf,
    "W7": documents,
}
"""By name; each takes its size, 1 for a night of a minute, and a seed."""

_SENTENCES = 60
_TOKENS_PER_DOCUMENT = 1_300
"""About; the clauses vary a little."""


def _document(n: int) -> str:
    pick = random.Random(n)
    clauses = (
        pick.choice(_CLAUSES).format(place=pick.choice(_PLACES), n=pick.randrange(2, 99))
        for _ in range(_SENTENCES)
    )
    return f"Contract {n}. " + " ".join(clauses)


def _models(count: int) -> tuple[str, ...]:
    return tuple(f"model-{chr(ord('a') + n)}:8b" for n in range(count))
