"""What changes the models on a host: pull, push, create, copy, delete. All of it goes through ``OllamaHost.ask``."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from worker.ollama.calls import Call
from worker.replies.transfers import Transfer, TransferReader

if TYPE_CHECKING:
    from worker.ollama.client import OllamaHost

Hear = Callable[[Transfer], None]


def pull(
    gpu: "OllamaHost",
    model: str,
    *,
    insecure: bool = False,
    call: Call | None = None,
    hear: Hear | None = None,
) -> None:
    """Have ``model`` pulled from its registry. Broken off and asked again, the host goes on from what it has.

    Raises HostError with the text of the host; ``replies.registries.verdict`` says what it means.
    """
    _follow(gpu, "/api/pull", {"model": model, **({"insecure": True} if insecure else {})}, call, hear)


def push(
    gpu: "OllamaHost",
    model: str,
    *,
    insecure: bool = False,
    call: Call | None = None,
    hear: Hear | None = None,
) -> None:
    """Have ``model``, whose name has the registry or the account in it, pushed there. Raises HostError."""
    _follow(gpu, "/api/push", {"model": model, **({"insecure": True} if insecure else {})}, call, hear)


def create(
    gpu: "OllamaHost",
    model: str,
    recipe: Mapping[str, Any],
    *,
    call: Call | None = None,
    hear: Hear | None = None,
) -> None:
    """Have ``model`` made of a recipe: ``from``, ``system``, ``template``, ``parameters``, … The host ignores parameters
    that it does not know, and pulls a ``from`` that it does not have: check both before. Raises HostError."""
    _follow(gpu, "/api/create", {**recipe, "model": model}, call, hear)


def copy(gpu: "OllamaHost", source: str, model: str) -> None:
    """Give a model a second name. Raises HostError: MODEL_MISSING where there is no ``source``."""
    gpu.ask("/api/copy", {"source": source, "destination": model}, _Nothing(), patience=gpu.patience_to_probe)


def remove(gpu: "OllamaHost", model: str) -> None:
    """Delete a model; its files go with the last name that uses them. Raises HostError: MODEL_MISSING where it has gone."""
    gpu.ask("/api/delete", {"model": model}, _Nothing(), patience=gpu.patience_to_probe, method="DELETE")


def _follow(
    gpu: "OllamaHost", path: str, body: Mapping[str, Any], call: Call | None, hear: Hear | None
) -> None:
    reader = TransferReader(hear or (lambda progress: None))
    gpu.ask(path, {**body, "stream": True}, reader, call, patience=gpu.patience_to_pull)


class _Nothing:
    """A reply without a body."""

    chunks = None
    partial = ""

    def feed(self, data: bytes) -> None:
        """What comes all the same says nothing."""

    def end(self) -> None:
        """It is over."""
