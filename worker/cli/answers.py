"""Options that choose jobs by their stored answers."""

from collections.abc import Sequence
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any, cast

import typer

from worker.cli.groups import option
from worker.domain.answers import AnswerFilter
from worker.domain.replies import PromptFit
from worker.errors import Code
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


def check_codes(value: Any) -> Any:
    """The value of --code. Raises typer.BadParameter for what is no error code: it is mistyped."""
    for code in [value] if isinstance(value, str) else value or ():
        if code not in set(Code):
            near = get_close_matches(code, sorted(Code), n=1, cutoff=0.5)
            hint = f"did you mean {str(near[0])!r}?" if near else "docs/reference/errors.md lists the codes"
            raise typer.BadParameter(f"{code!r} is not an error code; {hint}")
    return value
