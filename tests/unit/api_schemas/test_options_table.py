import pytest
from pydantic import ValidationError

from api_schemas.options import INT_OPTIONS, NO_LONGER_READ, RUNNER_OPTIONS, Options

TABLE_OF_THE_SEED = {
    "mirostat": 0,
    "mirostat_eta": 0.1,
    "mirostat_tau": 5.0,
    "num_ctx": 4096,
    "repeat_last_n": 64,
    "repeat_penalty": 1.1,
    "temperature": 0.7,
    "seed": 42,
    "stop": ["AI assistant:"],
    "num_predict": 42,
    "top_k": 40,
    "top_p": 0.9,
    "min_p": 0.05,
}


def test_every_option_that_old_documents_show_is_known_with_its_type() -> None:
    options = Options.model_validate(TABLE_OF_THE_SEED)

    assert {name: options.__dict__[name] for name in TABLE_OF_THE_SEED} == TABLE_OF_THE_SEED
    assert {"mirostat", "mirostat_eta", "mirostat_tau"} <= NO_LONGER_READ


def test_each_option_says_what_it_does_and_the_dead_ones_say_that_first() -> None:
    for name, field in Options.model_fields.items():
        assert field.description, name
        assert field.description.startswith("No longer read by the server") == (name in NO_LONGER_READ), name


def test_load_time_options_are_options_and_say_that_they_reload() -> None:
    for name in RUNNER_OPTIONS:
        assert "eloads" in (Options.model_fields[name].description or ""), name


def test_whole_numbers_are_told_from_others() -> None:
    kinds = Options.model_json_schema()["properties"]

    assert {name for name, schema in kinds.items() if schema["anyOf"][0]["type"] == "integer"} == INT_OPTIONS


@pytest.mark.parametrize("name", sorted(Options.model_fields))
@pytest.mark.parametrize("value", ["1", [1], {"a": 1}])
def test_no_option_takes_a_value_of_another_type(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        Options.model_validate({name: value})


@pytest.mark.parametrize("name", sorted(set(Options.model_fields) - {"stop"}))
def test_numbers_and_truth_values_are_not_mixed(name: str) -> None:
    wrong = 1 if Options.model_json_schema()["properties"][name]["anyOf"][0]["type"] == "boolean" else True

    with pytest.raises(ValidationError):
        Options.model_validate({name: wrong})
