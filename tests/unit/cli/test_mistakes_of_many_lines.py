"""A mistake of many lines is said once, with how many lines have it and where the first are."""

import json

from api_schemas.submissions import Submission
from worker.cli.exits import explain
from worker.door.intake import Intake
from worker.errors import InputRefused, Problem, in_words


def said_of(lines: list[dict[str, object]]) -> list[str]:
    """What a person reads of an input of these lines."""
    intake = Intake(Submission())
    for _ in intake.read([json.dumps(line).encode() for line in lines]):
        pass
    return list(explain(intake.problems.refusal))


def test_lines_that_lack_the_same_are_counted_and_the_first_are_named() -> None:
    said = said_of([{"prompt": f"p{n}"} for n in range(400)])

    assert len(said) == 2
    assert said[0].startswith("caravan: lines 1, 2, 3, 4, 5 and 395 more: model: missing")


def test_another_mistake_far_down_the_input_is_still_named() -> None:
    lines: list[dict[str, object]] = [{"prompt": f"p{n}"} for n in range(400)]
    lines[300] = {"model": "m:1", "prompt": "p", "options": {"temprature": 1}}

    said = said_of(lines)

    assert "lines 1, 2, 3, 4, 5 and 394 more: model: missing" in said[0]
    assert "line 301: " in said[1]
    assert "temprature" in said[1]


def test_what_more_kinds_of_mistakes_there_are_is_a_number() -> None:
    lines: list[dict[str, object]] = [{"model": "m:1", "prompt": "p", f"field_{n}": 1} for n in range(60)]

    said = said_of(lines)

    assert len(said) == 22
    assert said[20] == "caravan: … and 40 more"


def test_an_error_without_words_is_named_without_the_class_of_python() -> None:
    assert in_words(TimeoutError()) == "timeout error"
    assert in_words(KeyError("model")) == "key error: 'model'"
    assert in_words(PermissionError(13, "Permission denied", "a.csv")) == "a.csv: Permission denied"


def test_an_option_of_the_command_line_is_named_as_it_was_typed() -> None:
    mistake = Problem(
        0, "options.num_ctx", "wrong_type", 'options.num_ctx: expected a whole number, got "big"'
    )
    of_a_line = Problem(7, "options.num_ctx", "wrong_type", "options.num_ctx: expected a whole number")

    assert list(explain(InputRefused([mistake]))) == [
        'caravan: --set num_ctx: expected a whole number, got "big"'
    ]
    assert "line 7: options.num_ctx:" in next(iter(explain(InputRefused([of_a_line]))))
