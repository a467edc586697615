"""``POST /api/embed``: the fields that a producer may give.

Source: ``api/types.go EmbedRequest``, ``server/routes.go EmbedHandler`` of Ollama 0.24 and 0.33.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from api_schemas.generate import KeepAlive
from api_schemas.job_line import CaravanFields
from api_schemas.options import Options

MOST_DIMENSIONS = 65_536


class EmbedFields(BaseModel):
    """The fields of an embed request that a producer may give; of the list of texts that it carries, one."""

    model_config = ConfigDict(
        defer_build=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=()
    )

    model: str | None = Field(
        default=None,
        description="Name of an embedding model: [host/][namespace/]model[:tag]; the tag is latest where none is given.",
    )
    input: Annotated[str, Field(pattern=r"\S")] = Field(
        description="The text to embed. Not blank: to a host an empty text is an order to load the model."
    )
    dimensions: Annotated[int, Field(ge=1, le=MOST_DIMENSIONS)] | None = Field(
        default=None,
        description="Numbers of the vector, for models that can be cut; the rest is made one long again. More than the "
        "model has is a failure, where hosts would say nothing.",
    )
    truncate: bool | None = Field(
        default=None,
        description="true: a text that does not fit the window is cut in silence, which is the server's default. "
        "Caravan's is false: such a text fails with context_overflow, alone.",
    )
    options: Options | None = Field(
        default=None, description="Model parameters; of these only the load-time ones mean anything here."
    )
    keep_alive: KeepAlive | None = Field(
        default=None, description="How long the model stays loaded afterwards, as for a prompt."
    )


class EmbedLine(CaravanFields, EmbedFields):
    """One line of a job file that is a text to be embedded: its vector is the answer. null is the same as leaving a field out."""

    model_config = ConfigDict(title="Caravan embed line")

    kind: Literal["embed"] = Field(description="What is asked of the host: embed.")
