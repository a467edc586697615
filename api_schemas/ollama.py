"""The wire of an Ollama host, in one place to import from."""

from api_schemas.durations import format_duration, parse_duration
from api_schemas.generate import (
    THINK_LEVELS,
    ErrorReply,
    GenerateFields,
    GenerateReply,
    GenerateRequest,
    Logprob,
    TokenLogprob,
)
from api_schemas.hosts import (
    ModelDetails,
    PsModel,
    PsReply,
    PullProgress,
    PullRequest,
    ShowReply,
    ShowRequest,
    TagsModel,
    TagsReply,
    VersionReply,
)
from api_schemas.keep_alive import FOR_EVER, UNLOAD, keep_alive_seconds
from api_schemas.options import INT_OPTIONS, NO_LONGER_READ, RUNNER_OPTIONS, Options

__all__ = [
    "FOR_EVER",
    "INT_OPTIONS",
    "NO_LONGER_READ",
    "RUNNER_OPTIONS",
    "THINK_LEVELS",
    "UNLOAD",
    "ErrorReply",
    "GenerateFields",
    "GenerateReply",
    "GenerateRequest",
    "Logprob",
    "ModelDetails",
    "Options",
    "PsModel",
    "PsReply",
    "PullProgress",
    "PullRequest",
    "ShowReply",
    "ShowRequest",
    "TagsModel",
    "TagsReply",
    "TokenLogprob",
    "VersionReply",
    "format_duration",
    "keep_alive_seconds",
    "parse_duration",
]
