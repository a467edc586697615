"""What a model is made of (``caravan models create``): checked here, since a host ignores what it does not know."""

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from api_schemas.options import NO_LONGER_READ, Options
from worker.errors import InputRefused, Problem

QUANTIZATIONS = ("F32", "F16", "Q4_K_S", "Q4_K_M", "Q8_0")
"""What a host quantizes to (``server/quantization.go``)."""
_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "from": str,
    "system": str,
    "template": str,
    "parameters": dict,
    "license": (str, list),
    "messages": list,
    "quantize": str,
}
_LARGEST = 10 * 2**20


def read_recipe(path: Path) -> dict[str, Any]:
    """The recipe in a JSON file. Raises InputRefused, OSError."""
    content = path.read_bytes()
    if len(content) > _LARGEST:
        raise InputRefused([Problem(0, "", "too_large", f"{path}: a recipe has at most {_LARGEST:,} bytes")])
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        example = '{"from": "qwen3:8b", "parameters": {"num_ctx": 8192}}'
        message = f"{path}: is not JSON ({error}). Expected an object such as {example}"
        raise InputRefused([Problem(0, "", "invalid_json", message)]) from error
    if not isinstance(value, dict):
        raise InputRefused([Problem(0, "", "invalid_value", f"{path}: expected one JSON object")])
    return value


def checked_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe as a host takes it. Raises InputRefused with everything that is wrong with it."""
    problems = [*_unknown(recipe, tuple(_FIELDS), "field"), *_wrong_types(recipe)]
    if not recipe.get("from"):
        problems.append(_problem("from", "missing", "from: missing. Expected the model that it is made of"))
    quantize = recipe.get("quantize")
    if isinstance(quantize, str) and quantize.upper() not in QUANTIZATIONS:
        message = (
            f"quantize: a host does not know {quantize[:40]!r}. Expected one of {', '.join(QUANTIZATIONS)}"
        )
        problems.append(_problem("quantize", "invalid_value", message))
    parameters = recipe.get("parameters")
    if isinstance(parameters, Mapping):
        problems += _parameter_problems(parameters)
    if problems:
        raise InputRefused(problems)
    return dict(recipe) | ({"quantize": quantize.upper()} if isinstance(quantize, str) else {})


def parameter(text: str) -> tuple[str, Any]:
    """``num_ctx=8192`` as a name and a value; the value is JSON where it can be read as that. Raises InputRefused."""
    name, sign, value = text.partition("=")
    if not sign or not name:
        message = f"--param {text[:60]!r}: expected NAME=VALUE, such as num_ctx=8192"
        raise InputRefused([_problem("--param", "invalid_value", message)])
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _parameter_problems(parameters: Mapping[str, Any]) -> list[Problem]:
    known = tuple(Options.model_fields)
    problems = _unknown(parameters, known, "parameter")
    for name in parameters:
        if name in NO_LONGER_READ:
            message = (
                f"parameters.{name}: no server reads it any more, and a host would ignore it without a word"
            )
            problems.append(_problem(f"parameters.{name}", "ignored", message))
    there = {name: value for name, value in parameters.items() if name in known}
    if isinstance(there.get("stop"), str):
        there["stop"] = [there["stop"]]
    try:
        Options.model_validate(there)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            place = ".".join(str(part) for part in detail["loc"])
            problems.append(
                _problem(f"parameters.{place}", "invalid_value", f"parameters.{place}: {detail['msg']}")
            )
    return problems


def _unknown(values: Mapping[str, Any], known: Sequence[str], what: str) -> list[Problem]:
    problems = []
    for name in values:
        if name in known:
            continue
        near = get_close_matches(str(name), known, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]!r}?" if near else f"the {what}s are {', '.join(known)}"
        message = f"{str(name)[:60]!r} is not a {what} that a host knows, and it would ignore it without a word; {hint}"
        problems.append(_problem(str(name)[:60], "unknown_field", message))
    return problems


def _wrong_types(recipe: Mapping[str, Any]) -> list[Problem]:
    return [
        _problem(name, "wrong_type", f"{name}: expected {_WORDS[name]}")
        for name, kind in _FIELDS.items()
        if name in recipe and not isinstance(recipe[name], kind)
    ]


_WORDS = {
    "from": "the name of a model",
    "system": "a text",
    "template": "a text",
    "parameters": "an object of parameters",
    "license": "a text or a list of texts",
    "messages": "a list of messages",
    "quantize": "a text",
}


def _problem(field: str, code: str, message: str) -> Problem:
    return Problem(0, field, code, message)
