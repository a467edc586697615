"""A model in memory: how it loads, reads a prompt and says an answer, and what that costs in time.

Source: ``llm/server.go Completion`` and ``runner/llamarunner/runner.go`` (O), ``llm/llama_server.go`` (H).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from simulator.cache import PromptCache, Slot
from simulator.clock import Clock
from simulator.grammar import Grammar
from simulator.options import RunnerOptions, Sampling
from simulator.pictures import Picture, with_pictures
from simulator.pieces import Pieces
from simulator.process import Process, RunnerDied
from simulator.settings import HostSettings, Line, SimulatedModel
from simulator.speech import Voice
from simulator.tokens import END, START, UNKNOWN
from simulator.window import PromptTooLong, Window, window_of

REPEAT_LIMIT = 30
"""More equal pieces in a row than this end a completion without a final record (``llm/server.go``)."""

OFF_GPU_COST = 6.0
"""How much slower a model gets that lies wholly in the host's memory instead of the GPU's."""

BREATH_TOKENS = 256
"""How many tokens are said before the reader is waited for."""

PING_SECONDS = 10.0
"""How long the scheduler waits for a runner to answer before it counts as broken."""

__all__ = ["Completion", "Ending", "Gpu", "LogProb", "Piece", "PromptTooLong", "Runner", "RunnerBroke"]


class RunnerBroke(Exception):
    """The runner died under a request. ``spoke`` tells whether it had begun to answer."""

    def __init__(self, *, spoke: bool) -> None:
        super().__init__("runner died")
        self.spoke = spoke


@dataclass(frozen=True, slots=True)
class LogProb:
    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """A bit of the answer as it leaves the runner."""

    text: str
    logprobs: tuple[LogProb, ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """What a runner is asked for. ``interrupt`` is awaited before the n-th piece (from 0) leaves and may raise;
    ``breathe`` now and then, so that an endless answer does not outrun its reader."""

    prompt: str
    sampling: Sampling
    grammar: Grammar | None = None
    truncate: bool = True
    shift: bool = True
    top_logprobs: int | None = None
    interrupt: Callable[[int], Awaitable[None]] | None = None
    breathe: Callable[[], Awaitable[None]] | None = None
    images: Sequence[Picture] = ()


@dataclass(frozen=True, slots=True)
class Ending:
    """How a completion ended. Durations are in seconds."""

    done_reason: str
    prompt_tokens: int
    prompt_seconds: float
    answer_tokens: int
    answer_seconds: float


@dataclass(slots=True)
class Gpu:
    """What the runners of one host share. ``busy`` counts the sequences at work in all of them."""

    busy: int = 0


@dataclass(slots=True)
class _Sequence:
    """One completion at work."""

    slot: Slot
    prompt: Sequence[int]
    tokens: list[int] = field(default_factory=list)
    reading_until: float = 0.0
    pieces: int = 0
    last_piece: str = ""
    repeats: int = 0


class Runner:
    """One loaded model with its slots. ``off_gpu`` is the share of it that did not fit on the GPU."""

    def __init__(
        self,
        model: SimulatedModel,
        options: RunnerOptions,
        settings: HostSettings,
        clock: Clock,
        voice: Voice,
        *,
        gpu: Gpu,
        off_gpu: float = 0.0,
    ) -> None:
        self.process = Process(clock)
        self.window: Window = window_of(options.num_ctx, model.trained_context, settings.line)
        self._model = model
        self._line: Line = settings.line
        self._clock = clock
        self._voice = voice
        self._slot_cost = settings.slot_cost
        self._slowness = 1 + OFF_GPU_COST * off_gpu
        self._free_slots = asyncio.Semaphore(settings.num_parallel)
        self._cache = PromptCache([Slot() for _ in range(settings.num_parallel)], settings.line)
        self._busy = 0
        self._gpu = gpu

    async def load(self) -> None:
        """Read the weights.

        Raises:
            RunnerDied: the process was killed meanwhile.
        """
        await self.process.work(self._model.load_seconds)

    async def answers_pings(self) -> bool:
        """Whether its process answers; one that stands still is given time."""
        return not self.process.dead and (
            not self.process.stopped or await self.process.runs_within(PING_SECONDS)
        )

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without the start token."""
        return self._voice.vocabulary.encode(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of a context.

        Raises:
            UnknownToken: an id does not exist.
        """
        return self._voice.vocabulary.decode(tokens)

    async def complete(self, completion: Completion, say: Callable[[Piece], None]) -> Ending | None:
        """Answer a prompt, handing each piece to ``say``; None when the answer was given up as repetition.

        Raises:
            PromptTooLong: truncation is off and the prompt does not fit.
            RunnerBroke: the process died, before or while it spoke.
        """
        limit = self.window.answer_limit(completion.sampling.num_predict)
        await self._free_slots.acquire()
        try:
            if self.process.dead:
                raise RunnerBroke(spoke=False)
            whole = [START, *with_pictures(completion.prompt, completion.images, self.encode)]
            prompt = self.window.fit(
                whole,
                num_keep=completion.sampling.num_keep,
                truncate=completion.truncate,
                shift=completion.shift,
            )
        except BaseException:
            self._free_slots.release()
            raise
        slot, cached = self._cache.take(prompt)
        sequence = _Sequence(slot, prompt)
        self._busy += 1
        self._gpu.busy += 1
        try:
            return await self._run(completion, cached, limit, sequence, say)
        except RunnerDied:
            raise RunnerBroke(spoke=sequence.pieces > 0) from None
        finally:
            self._leave(sequence)

    def _leave(self, sequence: _Sequence) -> None:
        """Free the slot. O does not look whether the client is still there while it reads a prompt."""
        left = sequence.reading_until - self.process.time()
        if self._line == "O" and left > 0 and not self.process.dead:
            self._clock.loop.call_later(left, self._free, sequence)
        else:
            self._free(sequence)

    def _free(self, sequence: _Sequence) -> None:
        self._busy -= 1
        self._gpu.busy -= 1
        self._cache.give_back(sequence.slot, [*sequence.prompt, *sequence.tokens])
        self._free_slots.release()

    async def _run(
        self,
        completion: Completion,
        cached: int,
        limit: int,
        sequence: _Sequence,
        say: Callable[[Piece], None],
    ) -> Ending | None:
        clock, process = self._clock, self.process
        began = clock.now()
        prompt = sequence.prompt
        reading = self._crowded(1 / self._model.prompt_tokens_per_second) * (len(prompt) - cached)
        sequence.reading_until = process.time() + clock.scaled(reading)
        await process.until(sequence.reading_until)
        first_at = clock.now()
        due = process.time()
        pieces = Pieces(completion.sampling.stop)
        room = self.window.room(len(prompt), shift=completion.shift)
        reason = "length"
        tokens = self._voice.say(prompt, completion.sampling, completion.grammar)
        count = 0
        speaking = 0.0
        for token in tokens:
            count += 1
            if count > 1:
                step = clock.scaled(self._crowded(1 / self._model.tokens_per_second))
                speaking += step
                due += step
                await process.until(due)
            if token == END:
                reason = "stop"
                break
            sequence.tokens.append(token)
            text = pieces.add(self._voice.vocabulary.piece(token))
            if text is not None and not (pieces.stopped and not text):
                if self._repeats(sequence, text):
                    return None
                await self._send(completion, sequence, text, token, say)
            if pieces.stopped:
                reason = "stop"
                break
            if count >= limit or count >= room:
                break
            if completion.breathe is not None and count % BREATH_TOKENS == 0:
                await completion.breathe()
        held = "" if pieces.stopped else pieces.flush()
        if held:
            await self._send(completion, sequence, held, None, say)
        # Waits too short for a timer were left out: what they would have taken counts all the same.
        return Ending(
            reason,
            prompt_tokens=len(prompt),
            prompt_seconds=max(first_at - began, clock.scaled(reading)),
            answer_tokens=count,
            answer_seconds=self._answer_seconds(max(clock.now() - first_at, speaking), count),
        )

    async def _send(
        self,
        completion: Completion,
        sequence: _Sequence,
        text: str,
        token: int | None,
        say: Callable[[Piece], None],
    ) -> None:
        if completion.interrupt is not None:
            await completion.interrupt(sequence.pieces)
        sequence.pieces += 1
        if completion.top_logprobs is None or token is None:
            say(Piece(text))
        else:
            say(Piece(text, (self._logprob(token, completion.top_logprobs),)))

    def _repeats(self, sequence: _Sequence, text: str) -> bool:
        trimmed = text.strip()
        if trimmed == sequence.last_piece:
            sequence.repeats += 1
        else:
            sequence.last_piece, sequence.repeats = trimmed, 0
        return sequence.repeats > REPEAT_LIMIT

    def _crowded(self, seconds: float) -> float:
        """What a token costs when other slots are at work too, or part of the model is not on the GPU.

        Sequences of one runner are evaluated together, which costs each a little; several runners take turns, and
        each gets time for as many sequences as it has.
        """
        together = 1 + self._slot_cost * (self._busy - 1)
        return seconds * self._slowness * together * self._gpu.busy / self._busy

    def _answer_seconds(self, measured: float, count: int) -> float:
        """O starts to count at the first token, so that a single one takes no time at all; H never says 0."""
        if self._line == "H":
            return max(measured, 1e-6)
        return measured if count > 1 else 0.0

    def _logprob(self, token: int, top: int) -> LogProb:
        chosen, others = (-4.354931348871105e-08, -22.5625) if self._line == "O" else (0.0, -22.5625)
        text = self._token_text(token)
        ranked = [(text, chosen)]
        ranked += [(self._token_text(other), others) for other in range(UNKNOWN, top) if other != token]
        return LogProb(text, chosen, tuple(ranked[:top]))

    def _token_text(self, token: int) -> str:
        """O writes special tokens out, H leaves them empty."""
        if self._line == "O":
            return {UNKNOWN: "<unk>", START: "<s>", END: "</s>"}.get(token) or self.decode([token])
        return "" if token in (UNKNOWN, START, END) else self.decode([token])
