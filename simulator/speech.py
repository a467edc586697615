"""What a model says to a prompt, token by token."""

import zlib
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Protocol

from simulator.grammar import Grammar, Position
from simulator.options import Sampling
from simulator.prose import CHINESE, CHINESE_THOUGHTS, ENGLISH, ENGLISH_THOUGHTS
from simulator.settings import Script, SimulatedModel
from simulator.tokens import END, ScriptedVocabulary, Vocabulary, WideVocabulary, wide_vocabulary


class Voice(Protocol):
    """The weights of a model: a vocabulary and what comes next."""

    @property
    def vocabulary(self) -> Vocabulary: ...

    def say(self, prompt: Sequence[int], sampling: Sampling, grammar: Grammar | None) -> Iterator[int]:
        """The tokens of an answer; it ends with the end token, or never."""
        ...


class ScriptedVoice:
    """Each token has one successor; a grammar masks what it forbids."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.vocabulary = ScriptedVocabulary(script.pieces)

    def say(self, prompt: Sequence[int], sampling: Sampling, grammar: Grammar | None) -> Iterator[int]:
        following, first = self._script.following, self._script.first
        position = Position(grammar) if grammar is not None else None
        token = prompt[-1] if prompt else first
        while True:
            token = following.get(token, first)
            if position is not None:
                token = position.choose(token, self.vocabulary)
            yield token
            if token == END:
                return


class ProseVoice:
    """Sentences picked by seed and prompt: the same again for the same request."""

    def __init__(self, model: SimulatedModel, host_seed: int) -> None:
        self._model = model
        self._salt = zlib.crc32(f"{model.blob}/{host_seed}".encode())
        self.vocabulary: WideVocabulary = wide_vocabulary(model.vocabulary_size)

    def say(self, prompt: Sequence[int], sampling: Sampling, grammar: Grammar | None) -> Iterator[int]:
        number = zlib.crc32(array("q", prompt).tobytes(), self._salt ^ (sampling.seed & 0xFFFFFFFF))
        chinese = any(self.vocabulary.is_han(token) for token in prompt[-48:])
        shortest, longest = self._model.answer_tokens
        length = shortest + number % max(1, longest - shortest + 1)
        if grammar is not None:
            yield from self.vocabulary.encode(grammar.example(number, length))
        else:
            if self._model.thinking != "none" and not self._has_thought(prompt):
                yield from _thoughts(self.vocabulary, chinese, number)
            yield from _sentences(self.vocabulary, CHINESE if chinese else ENGLISH, number, length)
        yield END

    def _has_thought(self, prompt: Sequence[int]) -> bool:
        return self.vocabulary.closing_mark in prompt[-8:]


def voice_of(model: SimulatedModel, host_seed: int) -> Voice:
    """The voice of a model on a host."""
    return ScriptedVoice(model.script) if model.script else ProseVoice(model, host_seed)


def _sentences(vocabulary: WideVocabulary, bank: tuple[str, ...], number: int, length: int) -> Iterator[int]:
    """Whole sentences until about ``length`` tokens are said."""
    opening, following = _encoded(vocabulary, bank)
    said = 0
    while said < length:
        number = (number * 1_103_515_245 + 12_345) & 0x7FFFFFFF
        sentence = (following if said else opening)[(number >> 8) % len(bank)]
        yield from sentence
        said += len(sentence)


def _thoughts(vocabulary: WideVocabulary, chinese: bool, number: int) -> Iterator[int]:
    bank = CHINESE_THOUGHTS if chinese else ENGLISH_THOUGHTS
    yield from vocabulary.encode("<think>\n")
    yield from _sentences(vocabulary, bank, number >> 3, 12 + number % 24)
    yield from vocabulary.encode("\n</think>\n\n")


@lru_cache(maxsize=64)
def _encoded(vocabulary: WideVocabulary, bank: tuple[str, ...]) -> tuple[list[list[int]], list[list[int]]]:
    """The sentences as tokens: at the beginning of a text, and after another sentence."""
    space = " " if bank[0].isascii() else ""
    return [vocabulary.encode(one) for one in bank], [vocabulary.encode(space + one) for one in bank]
