"""The marks that families of models put around their reasoning, and around the answer that follows it.

A host takes the reasoning out where it knows the marks of a model. Models that were imported, and servers that are
older than the model, send them within the text. ``CARAVAN_REASONING_TAGS`` adds pairs to this table.
"""

from collections.abc import Iterable, Sequence
from dataclasses import field

from worker.records import record


@record
class Marks:
    """One way to mark reasoning. Marks are compared without regard to upper and lower case."""

    opening: str
    closing: str
    answer_opening: str = ""
    """Before the answer, where the family marks that too; it is taken off with ``answer_closing``."""
    answer_closing: str = ""

    lowered: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """Every mark in lower case, to look for in a text in lower case."""

    def __post_init__(self) -> None:
        marks = (self.opening, self.closing, self.answer_opening)
        object.__setattr__(self, "lowered", tuple(mark.lower() for mark in marks if mark))

    @property
    def are_special(self) -> bool:
        """Nobody writes the opening mark in prose: it is a special token of a tokenizer."""
        return self.opening.startswith(("<|", "<unused"))

    @property
    def are_words(self) -> bool:
        """The marks are words, which may begin a line of any answer: only both of them together count."""
        return self.closing[0].isalnum()


FAMILIES: Sequence[Marks] = (
    Marks("<think>", "</think>"),  # DeepSeek-R1, Qwen and most others
    Marks("<thinking>", "</thinking>"),  # fine-tunes
    Marks("<thought>", "</thought>"),  # EXAONE Deep
    Marks("<thoughts>", "</thoughts>"),
    Marks("<reasoning>", "</reasoning>"),
    Marks("<seed:think>", "</seed:think>"),  # Seed-OSS
    Marks("<longcat_think>", "</longcat_think>"),
    Marks("[THINK]", "[/THINK]"),  # Magistral
    Marks("◁think▷", "◁/think▷"),  # Kimi
    Marks("<|think|>", "<|/think|>"),
    Marks("<|thinking|>", "<|/thinking|>"),
    Marks(
        "<|begin_of_thought|>", "<|end_of_thought|>", "<|begin_of_solution|>", "<|end_of_solution|>"
    ),  # OpenThinker, Sky-T1
    Marks("<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>"),  # Command A
    Marks("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    Marks("<|channel>thought", "<channel|>"),  # Gemma 4
    Marks("<unused94>thought", "<unused95>"),  # MedGemma
    Marks("Here is my thought process:", "Here is my response:"),  # Granite 3.2
)
"""gpt-oss speaks in channels, which ``harmony`` reads."""


def families_with(pairs: Iterable[Sequence[str]]) -> Sequence[Marks]:
    """The table with the pairs of the configuration before it.

    >>> families_with([("<ponder>", "</ponder>")])[0].closing
    '</ponder>'
    """
    return (*(Marks(opening, closing) for opening, closing in pairs), *FAMILIES)
