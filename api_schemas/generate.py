"""``POST /api/generate``: every field of the request and of what comes back.

Source: ``api/types.go GenerateRequest, GenerateResponse``, ``server/routes.go GenerateHandler`` of Ollama
0.24 and 0.33. A request is strict, since a server ignores what it does not know; a reply is read leniently,
since newer servers add fields.
"""

import base64
import binascii
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.functional_validators import PlainValidator
from pydantic_core import PydanticCustomError

from api_schemas.formats import format_problem
from api_schemas.keep_alive import keep_alive_seconds
from api_schemas.options import Options

MOST_IMAGES = 64
MOST_CONTEXT = 2**20
"""Token ids: no window is larger."""
THINK_LEVELS = ("high", "medium", "low", "max")


def _think(value: object) -> object:
    if isinstance(value, bool) or value in THINK_LEVELS:
        return value
    raise PydanticCustomError("think", 'expected true, false, "high", "medium", "low" or "max"')


def _format(value: object) -> object:
    problem = format_problem(value)
    if problem:
        raise PydanticCustomError("format", "{problem}", {"problem": problem})
    return value


def _keep_alive(value: object) -> object:
    try:
        keep_alive_seconds(value)
    except ValueError as error:
        raise PydanticCustomError("keep_alive", "{problem}", {"problem": str(error)}) from error
    # One spelling for each unit and sign from here on: Go takes two letters for micro, and a leading plus.
    return value.replace("\u03bc", "\u00b5").lstrip("+") if isinstance(value, str) else value


def _image(value: str) -> str:
    if value.startswith("data:"):
        raise PydanticCustomError(
            "image",
            "expected bare base64: leave out the part up to the comma (data:…,)",
        )
    if value.startswith(("http://", "https://")):
        raise PydanticCustomError(
            "image", "hosts fetch no images: expected the base64 of an image file, got a URL"
        )
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise PydanticCustomError("image", "expected the base64 of an image file") from error
    if not value:
        raise PydanticCustomError("image", "expected the base64 of an image file, got an empty text")
    return value


Think = Annotated[
    bool | str,
    PlainValidator(_think),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": list(THINK_LEVELS)}]}),
]
Format = Annotated[
    str | dict[str, Any],
    PlainValidator(_format),
    WithJsonSchema({"anyOf": [{"const": "json"}, {"type": "object"}]}),
]
KeepAlive = Annotated[
    int | float | str,
    PlainValidator(_keep_alive),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number"},
                {
                    "type": "string",
                    "pattern": "^([-+]?([0-9]*(\\.[0-9]*)?(ns|us|µs|μs|ms|s|m|h))+|[-+]?0)$",
                },
            ]
        }
    ),
]
Image = Annotated[
    str,
    AfterValidator(_image),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]
TokenId = Annotated[int, Field(ge=0, le=2**31 - 1)]


class GenerateFields(BaseModel):
    """The fields of a generate request that a producer may give."""

    model_config = ConfigDict(
        defer_build=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=()
    )

    model: str | None = Field(
        default=None,
        description="Model name: [host/][namespace/]model[:tag]; the tag is latest where none is given.",
    )
    prompt: str | None = Field(default=None, description="The text to answer.")
    suffix: str | None = Field(
        default=None,
        description="Text after the answer, for models that fill in between (capability insert).",
    )
    images: Annotated[list[Image], Field(max_length=MOST_IMAGES, fail_fast=True)] | None = Field(
        default=None,
        description="Images for a model with vision, each the base64 of a file; in a file of rows also file:NAME, which is "
        "read when it is submitted.",
    )
    system: str | None = Field(default=None, description="System message; replaces the one of the Modelfile.")
    template: str | None = Field(
        default=None,
        description="Prompt template (Go template); replaces the one of the Modelfile.",
    )
    context: Annotated[list[TokenId], Field(max_length=MOST_CONTEXT, fail_fast=True)] | None = Field(
        default=None,
        description="Token ids of an earlier result of the same weights, to carry on from there. Old, "
        "still accepted.",
    )
    format: Format | None = Field(
        default=None,
        description='"json" for any JSON, or a JSON Schema the answer must follow. Ask for JSON in the '
        "prompt as well: a model that was not asked fills the answer with white space.",
    )
    options: Options | None = Field(default=None, description="Model parameters.")
    think: Think | None = Field(
        default=None,
        description="Whether the model reasons before it answers, or how much. Where nothing is said "
        "Caravan sends true for a model that can, false beside format. true beside format: it reasons freely "
        "first, and is asked for the answer in a second call.",
    )
    raw: bool | None = Field(
        default=None,
        description="Send the prompt without any template. Not together with system, template or context.",
    )
    keep_alive: KeepAlive | None = Field(
        default=None,
        description="How long the model stays loaded afterwards: seconds as a number, a duration such as "
        '"10m", negative for ever, 0 unload. Caravan applies the strongest hint of a run when it leaves the '
        "model.",
    )
    truncate: bool | None = Field(
        default=None,
        description="Whether a prompt that does not fit the window is cut in silence. The server's default "
        "is true, Caravan's false: such a job fails with context_overflow.",
    )
    shift: bool | None = Field(
        default=None,
        description="Whether a full window drops its older half so that the answer can go on. The server's "
        "default is true, Caravan's false: the answer ends, with cut true. Newer servers reload the model "
        "when it changes.",
    )
    logprobs: bool | None = Field(default=None, description="Return the log probability of each token.")
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = Field(
        default=None,
        description="How many likely tokens to return for each position, 0 to 20, with logprobs.",
    )
