"""What summaries say about answers that somebody should look at."""

from collections.abc import Sequence
from itertools import groupby

from worker.domain.answers import AnswerCounts, Weights
from worker.domain.numbers import count_of
from worker.policy.context_window import NUM_PREDICT, bucket
from worker.records import record

MARGIN = 4
"""A quarter more than estimated: a second refusal would cost more than the room."""
ROOMY = 16_384
"""A window for prompts of which nothing is known but that they were too long, in tokens."""


@record
class Room:
    """What Caravan proposes for jobs of a batch that had too little room, in tokens."""

    num_predict: int = 2 * NUM_PREDICT
    """For answers that were cut."""
    window: int | None = None
    """For answers that filled the window that was set for them; None where no answer did."""
    num_ctx: int = ROOMY
    """For prompts of which only a part was read, or that did not fit."""
    needed: int = 0
    """What the longest prompt that did not fit takes, its answer included; an estimate."""
    fits: bool = True
    """It has room in ``num_ctx``."""
    other: str | None = None
    """A model that takes it, where no window of its own model does."""
    embeds: bool = False
    """A text whose vector is wanted did not fit: hosts cut such a text where somebody says so."""

    @property
    def for_cut(self) -> str:
        """The options of ``caravan retry`` for answers that were cut.

        >>> Room(window=8192).for_cut
        ' --set num_predict=4096 --set num_ctx=8192'
        """
        wider = "" if self.window is None else f" --set num_ctx={self.window}"
        return f" --set num_predict={self.num_predict}{wider}"

    @property
    def larger_window(self) -> str:
        """The option of ``caravan retry`` for prompts that were refused as too long."""
        return f" --set num_ctx={self.num_ctx}" if self.fits else ""

    @property
    def beyond(self) -> str:
        """What helps a prompt that no window of its model takes.

        >>> Room(num_ctx=32_768, fits=False, other="qwen3:8b").beyond
        'its model takes 32,768 tokens at most; shorten the prompt, or ask a model with a larger window, such as qwen3:8b'
        """
        such = "" if self.other is None else f", such as {self.other}"
        return f"its model takes {self.num_ctx:,} tokens at most; shorten the prompt, or ask a model with a larger window{such}"


def truncating(room: Room, batch_id: int) -> list[str]:
    """A sentence with the command that takes vectors of the beginnings of texts, where texts did not fit.

    >>> truncating(Room(embeds=True), 7)
    ['To embed what fits of a text that is too long: caravan run --from 7 --code context_overflow --truncate']
    >>> truncating(Room(), 7)
    []
    """
    command = f"caravan run --from {batch_id} --code context_overflow --truncate"
    return [f"To embed what fits of a text that is too long: {command}"] if room.embeds else []


def room_for(*, answer: int = 0, prompt: int = 0, tried: int = 0, trained: int | None = None) -> Room:
    """The room for answers of which the longest was cut after ``answer`` tokens, and for jobs of which the longest is
    estimated at ``prompt`` tokens, its answer included. ``tried``: the window in which they had no room; ``trained``: the
    largest window of their models.

    >>> room_for(answer=10).num_predict, room_for(answer=2048).num_predict, room_for(answer=5000).num_predict
    (4096, 4096, 16384)
    >>> room_for(prompt=9000).larger_window, room_for(prompt=40_000, trained=32_768).larger_window
    (' --set num_ctx=12288', '')
    >>> room_for(prompt=9000, tried=12_288).num_ctx
    16384
    """
    needed = max(prompt + prompt // MARGIN, tried + 1) if prompt else 0
    num_predict = 2 * NUM_PREDICT
    while num_predict < 2 * answer:
        num_predict *= 2
    return Room(
        num_predict=num_predict,
        num_ctx=bucket(needed, trained=trained) if needed else ROOMY,
        needed=needed,
        fits=trained is None or needed <= trained,
    )


def counts_line(counts: AnswerCounts) -> str:
    """The counts in a few words; empty where there is nothing to look at.

    >>> counts_line(AnswerCounts(cut=1200, unfit=1)), counts_line(AnswerCounts())
    ('1,200 cut, 1 given to a part of the prompt', '')
    """
    parts = ((counts.cut, "cut"), (counts.empty, "empty"), (counts.unfit, "given to a part of the prompt"))
    return ", ".join(f"{number:,} {what}" for number, what in parts if number)


def advice(counts: AnswerCounts, batch_id: int, room: Room | None = None) -> list[str]:
    """A sentence for each kind of answer that somebody should look at, with the command that asks them again.

    >>> advice(AnswerCounts(cut=1), 7)
    ['1 answer was cut by num_predict or a full window: caravan retry 7 --cut --set num_predict=4096']
    """
    room = room or Room()
    retry = f"caravan retry {batch_id}"
    lines = []
    if counts.unfit:  # first: one that was cut as well needs the larger window, and is not asked twice
        lines.append(
            f"{_answers(counts.unfit)} given to a part of the prompt: "
            f"{retry} --prompt-fit no --set num_ctx={room.num_ctx}"
        )
    if counts.cut:
        lines.append(
            f"{_answers(counts.cut)} cut by num_predict or a full window: {retry} --cut{room.for_cut}"
        )
    if counts.empty:
        shows = f"caravan results {batch_id} --empty shows which"
        lines.append(f"{_answers(counts.empty)} empty: {shows}, {retry} --empty asks again")
    return lines


def on_the_way(again: AnswerCounts, batch_id: int) -> list[str]:
    """A sentence for such answers whose jobs are asked again already.

    >>> on_the_way(AnswerCounts(cut=5), 7)
    ['asked again already: 5 cut; the old answers stay until new ones are stored: caravan watch 7']
    """
    shows = f"the old answers stay until new ones are stored: caravan watch {batch_id}"
    return [f"asked again already: {counts_line(again)}; {shows}"] if again else []


def unproved(count: int, batch_id: int) -> list[str]:
    """A sentence for answers of which the host's counts do not prove that it read the whole prompt."""
    shows = f"caravan results {batch_id} --prompt-fit unknown shows which"
    message = (
        f"{_answers(count)} given where the host does not tell whether it read the whole prompt: {shows}"
    )
    return [message] if count else []


def drifted(model: str, digests: int) -> list[str]:
    """A sentence where several weights answered under one name: the digest is what a model is, not its name."""
    message = (
        f"{model} was not the same for all answers: {digests} different weights gave them, as after a new pull or on "
        f"hosts that differ. The digest of each result says which; caravan models list {model} compares the hosts"
    )
    return [message] if digests > 1 else []


def mixed(weights: Sequence[Weights]) -> list[str]:
    """The same, with what each weights gave and where.

    >>> both = [Weights("m:1", "sha-a", "gpu-1", 2), Weights("m:1", "sha-b", "gpu-2", 1)]
    >>> mixed(both)[1:]
    ['sha-a: 2 answers, on gpu-1', 'sha-b: 1 answer, on gpu-2']
    >>> mixed(both[:1])
    []
    """
    lines: list[str] = []
    for model, rows in groupby(weights, key=lambda row: row.model):
        by_digest = [(digest, list(same)) for digest, same in groupby(rows, key=lambda row: row.digest)]
        if len(by_digest) == 1:
            continue
        lines += drifted(model, len(by_digest))
        for digest, same in by_digest:
            count = sum(row.answers for row in same)
            lines.append(
                f"{digest[:12]}: {count_of(count, 'answer')}, on {', '.join(row.host for row in same)}"
            )
    return lines


def _answers(count: int) -> str:
    return count_of(count, "answer was", "answers were")
