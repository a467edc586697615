"""What a host says about itself: ``/api/version``, ``/api/tags``, ``/api/ps``, ``/api/show``, pulls.

Source: ``api/types.go``, ``server/routes.go`` of Ollama 0.24 and 0.33. All are read leniently; ``null`` lists
(Go's nil slices) are empty ones.
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _empty(value: object) -> object:
    return [] if value is None else value


Names = Annotated[list[str], BeforeValidator(_empty)]


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class VersionReply(_Lenient):
    """``GET /api/version``."""

    version: str


class ModelDetails(_Lenient):
    """What kind of weights a model has."""

    parent_model: str = ""
    format: str = ""
    family: str = ""
    families: Names = Field(default_factory=list)
    parameter_size: str = ""
    quantization_level: str = ""
    context_length: int | None = Field(default=None, description="Trained context; newer servers alone.")
    embedding_length: int | None = None


class TagsModel(_Lenient):
    """A model that a host has on disk."""

    name: str
    model: str = ""
    modified_at: str = ""
    size: int = Field(default=0, description="Bytes on disk.")
    digest: str = Field(
        default="",
        description="Digest of the manifest: differs per tag even with equal weights.",
    )
    details: ModelDetails = Field(default_factory=ModelDetails)
    capabilities: Names = Field(
        default_factory=list,
        description="Newer servers alone; /api/show has them on all.",
    )
    remote_model: str | None = None
    remote_host: str | None = None


class TagsReply(_Lenient):
    """``GET /api/tags``: newest first."""

    models: Annotated[list[TagsModel], BeforeValidator(_empty)] = Field(default_factory=list)


class PsModel(_Lenient):
    """A model that is loaded. A dead runner stays listed until the next request for it."""

    name: str
    model: str = ""
    size: int = 0
    digest: str = ""
    details: ModelDetails = Field(default_factory=ModelDetails)
    expires_at: str = Field(
        default="",
        description="May be in the past for a busy model; about the year 2318 for one kept for ever.",
    )
    size_vram: int = Field(
        default=0,
        description="Equal to size: wholly on the GPU; less: partly on the CPU.",
    )
    context_length: int | None = Field(
        default=None, description="The window that is really loaded, per slot."
    )


class PsReply(_Lenient):
    """``GET /api/ps``: latest expiry first."""

    models: Annotated[list[PsModel], BeforeValidator(_empty)] = Field(default_factory=list)


class ShowRequest(BaseModel):
    """``POST /api/show``."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: str
    verbose: bool | None = None


class ShowReply(_Lenient):
    """What a host knows of one model."""

    license: str = ""
    modelfile: str = ""
    parameters: str = Field(default="", description="PARAMETER lines as text: name, padded to 30, value.")
    template: str = ""
    system: str = ""
    renderer: str = ""
    parser: str = ""
    details: ModelDetails = Field(default_factory=ModelDetails)
    model_info: dict[str, Any] = Field(default_factory=dict)
    capabilities: Names = Field(
        default_factory=list,
        description="Of completion, tools, insert, vision, embedding, thinking, image, audio.",
    )
    modified_at: str = ""
    remote_model: str | None = None
    remote_host: str | None = None

    @property
    def trained_context(self) -> int | None:
        """Tokens the model was trained for; a larger ``num_ctx`` is clamped to it in silence."""
        architecture = self.model_info.get("general.architecture")
        length = self.model_info.get(f"{architecture}.context_length")
        return length if isinstance(length, int) else None

    @property
    def parameter_values(self) -> dict[str, str]:
        """The PARAMETER lines by name, values as written; of one given several times (stop) the last.

        >>> ShowReply(parameters="num_ctx                        4096").parameter_values
        {'num_ctx': '4096'}
        """
        lines = (line.split(None, 1) for line in self.parameters.splitlines())
        return {line[0]: line[1].strip() for line in lines if len(line) == 2}


class PullRequest(BaseModel):
    """``POST /api/pull``."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: str
    insecure: bool | None = None
    stream: bool | None = None


class PullProgress(_Lenient):
    """One line of a pull. It is over with status ``success``; an error line comes with HTTP status 200."""

    status: str = ""
    digest: str | None = None
    total: int | None = None
    completed: int | None = None
    error: str | None = None
