"""Options that choose jobs by their stored answers."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, cast

from worker.cli.groups import option
from worker.domain.answers import AnswerFilter
from worker.domain.replies import PromptFit
from worker.records import record


class FitName(StrEnum):
    """``prompt_fit`` as an option: Typer takes no list of literals."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@record
class AnswerOptions:
    """Jobs by their stored answers."""

    cut: Annotated[bool, option("--cut", "Only answers that were ended by num_predict or a full window.")] = (
        False
    )
    empty: Annotated[bool, option("--empty", "Only answers with nothing in them.")] = False
    prompt_fit: Annotated[
        list[FitName] | None,
        option(
            "--prompt-fit",
            "Only answers to the whole prompt (yes), a part of it (no), or unknown; repeat for more.",
        ),
    ] = None

    @property
    def filter(self) -> AnswerFilter:
        return answers_of(self.cut, self.empty, self.prompt_fit)


def answers_of(cut: bool, empty: bool, fit: Sequence[FitName] | None) -> AnswerFilter:
    """The filter that the three options say."""
    return AnswerFilter(cut, empty, frozenset(cast(PromptFit, str(name)) for name in fit or ()))
