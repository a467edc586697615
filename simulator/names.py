"""Which model a name means.

Source: ``types/model/name.go``, ``internal/modelref/modelref.go``.
"""

import re
from dataclasses import dataclass

_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:\-]{0,349}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]{0,79}")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,79}")


class BadName(ValueError):
    """A text that names no model; the message is the server's."""


@dataclass(frozen=True, slots=True)
class ModelName:
    """``[host/][namespace/]model[:tag]`` with the defaults filled in."""

    host: str
    namespace: str
    model: str
    tag: str

    @property
    def full(self) -> str:
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    @property
    def short(self) -> str:
        """The name as ``/api/tags`` shows it: default host and namespace left out."""
        name = f"{self.model}:{self.tag}"
        if self.namespace != "library":
            name = f"{self.namespace}/{name}"
        if self.host != "registry.ollama.ai":
            name = f"{self.host}/{self.namespace}/{self.model}:{self.tag}"
        return name

    @property
    def key(self) -> str:
        """What two names of one model have in common: names match whatever their case."""
        return self.full.lower()


def without_source(text: str) -> tuple[str, bool]:
    """A name without ``:local`` or ``:cloud``, and whether it names a model in the cloud.

    >>> without_source("llama:local"), without_source("gpt-oss:120b-cloud")
    (('llama', False), ('gpt-oss:120b-cloud', True))

    Raises:
        BadName: it asks for both.
    """
    bare, local = (text[: -len(":local")], True) if text.endswith(":local") else (text, False)
    cloud = bare.endswith((":cloud", "-cloud"))
    if local and cloud:
        raise BadName(f'use either :local or :cloud, not both: "{text}"')
    return bare, cloud


def parse_name(text: str) -> ModelName:
    """Read a model's name.

    >>> parse_name("Llama3.2:3b").short, parse_name("me/llama").full
    ('Llama3.2:3b', 'registry.ollama.ai/me/llama:latest')

    Raises:
        BadName: a part is missing, too long or has a character that no name has.
    """
    rest = text.strip()
    if "://" in rest:
        rest = rest.split("://", 1)[1]
    head, slash, last = rest.rpartition("/")
    model, colon, tag = last.partition(":")
    host, namespace = "registry.ollama.ai", "library"
    if slash:
        outer, inner_slash, namespace = head.rpartition("/")
        host = outer if inner_slash else host
    name = ModelName(host, namespace, model, tag if colon else "latest")
    if not (
        _HOST.fullmatch(name.host)
        and _NAMESPACE.fullmatch(name.namespace)
        and _PART.fullmatch(name.model)
        and _PART.fullmatch(name.tag)
    ):
        raise BadName("invalid model name")
    return name
