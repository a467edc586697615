"""``POST /api/chat``: the fields of a request, messages and tools.

Source: ``api/types.go ChatRequest, Message, Tool`` of Ollama 0.24 and 0.33. ``truncate`` and ``shift`` are not among them:
Caravan sends both as false, so that no turn of a conversation is dropped in silence.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from api_schemas.formats import format_problem
from api_schemas.generate import MOST_IMAGES, Format, Image, KeepAlive, Think
from api_schemas.job_line import AnswerFields, CaravanFields
from api_schemas.options import Options

MOST_MESSAGES = 10_000
MOST_TOOLS = 128
MOST_CALLS = 128
"""Of one message."""


def _bare(value: object) -> object:
    """The base64 of a data URL."""
    if isinstance(value, str) and value.startswith("data:"):
        head, comma, data = value.partition(",")
        if comma and head.endswith(";base64"):
            return data
    return value


def _content(value: object) -> object:
    if isinstance(value, list):
        raise PydanticCustomError(
            "content",
            "expected a text, got a list of parts: hosts take a text, and images beside it as images",
        )
    return value


def _arguments(value: object) -> object:
    """Arguments as an object; a text that holds one, as the API of OpenAI has it, is read."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, dict):
        raise PydanticCustomError("arguments", "expected an object with the arguments of the call")
    return value


def _parameters(value: object) -> object:
    if not isinstance(value, dict):
        raise PydanticCustomError("parameters", "expected a JSON Schema object")
    problem = format_problem(value)
    if problem:
        raise PydanticCustomError("parameters", "{problem}", {"problem": problem})
    return value


def _choice(value: object) -> object:
    if value in ("auto", "none", "required"):
        return value
    if isinstance(value, dict):
        function = value.get("function", value)
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            return {"name": function["name"]}
    raise PydanticCustomError("tool_choice", 'expected "auto", "none", "required" or {"name": TOOL}')


ChatImage = Annotated[Image, BeforeValidator(_bare)]
Arguments = Annotated[dict[str, Any], PlainValidator(_arguments), WithJsonSchema({"type": "object"})]
Parameters = Annotated[dict[str, Any], PlainValidator(_parameters), WithJsonSchema({"type": "object"})]
ToolChoice = Annotated[
    str | dict[str, str],
    PlainValidator(_choice),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["auto", "none", "required"]},
                {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
            ]
        }
    ),
]
ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="forbid", strict=True, allow_inf_nan=False)


class CalledFunction(_Strict):
    """Which tool was called, and with what."""

    index: int | None = None
    name: str = Field(min_length=1)
    arguments: Arguments = Field(default_factory=dict)


class ToolCall(_Strict):
    """A call that a model made."""

    id: str | None = None
    type: Literal["function"] | None = None
    function: CalledFunction


class Message(_Strict):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: Annotated[str | None, BeforeValidator(_content)] = None
    thinking: str | None = None
    images: Annotated[list[ChatImage], Field(max_length=MOST_IMAGES, fail_fast=True)] | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=MOST_CALLS, fail_fast=True)] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Message":
        text = self.content is not None and self.content.strip()
        if self.role in ("system", "user") and not (text or self.images or self.tool_calls):
            raise PydanticCustomError("content", "a message without content, images or tool_calls")
        return self


class Function(_Strict):
    """What a tool is called, what it is for, and the JSON Schema of its arguments."""

    name: ToolName
    description: str | None = None
    parameters: Parameters | None = None


class Tool(_Strict):
    """A tool that a model may call."""

    type: Literal["function"] = "function"
    function: Function


class ChatFields(BaseModel):
    """The fields of a chat request that a producer may give."""

    model_config = ConfigDict(
        defer_build=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=()
    )

    model: str | None = Field(
        default=None,
        description="Model name: [host/][namespace/]model[:tag]; the tag is latest where none is given.",
    )
    messages: Annotated[list[Message], Field(min_length=1, max_length=MOST_MESSAGES, fail_fast=True)] = Field(
        description="The turns so far, each with role (system, user, assistant, tool) and content; images as base64, data URL or "
        "file:NAME; thinking, tool_calls and tool_name as a host gave them. Where the last is the assistant's, it is gone on "
        "with."
    )
    tools: Annotated[list[Tool], Field(max_length=MOST_TOOLS, fail_fast=True)] | None = Field(
        default=None, description="Tools that the model may call, each with the JSON Schema of its arguments."
    )
    tool_choice: ToolChoice | None = Field(
        default=None,
        description='auto (default), none (no tools are sent), required, or {"name": TOOL}: hosts ignore it, so Caravan '
        "constrains the answer to the arguments of the tool and makes the call of it.",
    )
    format: Format | None = Field(
        default=None,
        description='"json" for any JSON, or a JSON Schema the answer must follow. Not together with tools.',
    )
    options: Options | None = Field(default=None, description="Model parameters.")
    think: Think | None = Field(
        default=None,
        description="Whether the model reasons before it answers, or how much. Where nothing is said "
        "Caravan sends true for a model that can, false beside format.",
    )
    keep_alive: KeepAlive | None = Field(
        default=None,
        description="How long the model stays loaded afterwards; see the job line of a prompt.",
    )
    logprobs: bool | None = Field(default=None, description="Return the log probability of each token.")
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = Field(
        default=None,
        description="How many likely tokens to return for each position, 0 to 20, with logprobs.",
    )


class ChatLine(AnswerFields, CaravanFields, ChatFields):
    """One line of a job file that holds a conversation: its next turn is the answer. null is the same as leaving a field out."""

    model_config = ConfigDict(title="Caravan chat line")

    kind: Literal["chat"] | None = Field(
        default=None, description="What is asked of the host: chat, which a line with messages is by itself."
    )
