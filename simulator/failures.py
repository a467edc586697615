"""How a request fails: the texts of the server, and of llama-server behind it.

Source: ``server/routes.go``, ``llm/server.go``, ``llm/llama_server.go``.
"""

import json

from simulator.settings import Line
from simulator.window import PromptTooLong

BUSY = "server busy, please try again.  maximum pending requests exceeded"
STOPPED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, "
    "check ollama server logs for details"
)
ENCOUNTERED = "an error was encountered while running the model: unexpected EOF"
CLOUD_OFF = "ollama cloud is disabled: remote model is unavailable"
NO_IMAGES = "Multimodal data provided, but model does not support multimodal requests."


class Failed(Exception):
    """A request that ends with an error: a status where nothing was sent yet, an error line else."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def prompt_too_long(error: PromptTooLong, line: Line, *, truncate: bool, shift: bool) -> Failed:
    """A prompt that does not fit: O just says so, H passes on llama-server's figures."""
    if line == "O":
        return Failed(400, "the input length exceeds the context length")
    if truncate and not shift:
        return Failed(
            400,
            "the prompt is longer than the context length currently available to the model; shorten the prompt, "
            "adjust the context length in settings, or use a model with a longer context length",
        )
    text = (
        f"request ({error.tokens} tokens) exceeds the available context size ({error.window} tokens), "
        "try increasing it"
    )
    figures = {"n_prompt_tokens": error.tokens, "n_ctx": error.window}
    return Failed(400, llama_server_error(400, text, "exceed_context_size_error", **figures))


def unreadable_image(line: Line) -> Failed:
    """An image in a format that the runner does not know. Read in reports of users, not recorded."""
    if line == "O":
        return Failed(500, "Failed to create new sequence: failed to process inputs: image: unknown format")
    return Failed(400, llama_server_error(400, "Failed to load image or audio file", "invalid_request_error"))


def llama_server_error(code: int, message: str, kind: str, **more: int) -> str:
    """What llama-server says, which H passes on as the text of its own error."""
    error = {"code": code, "message": message, "type": kind, **more}
    return json.dumps({"error": error}, separators=(",", ":"))
