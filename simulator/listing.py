"""What a host says about its models: ``/api/tags``, ``/api/ps``, ``/api/show``.

Source: ``server/routes.go ListHandler, PsHandler, ShowHandler``.
"""

from typing import TYPE_CHECKING, Any

from simulator import gojson
from simulator.bodies import BadRequest, EmptyBody
from simulator.insides import model_info, scripted_tokens, tensors
from simulator.models import LocalModel, NotFound, digest_of
from simulator.names import BadName, parse_name
from simulator.scheduler import Loaded

if TYPE_CHECKING:
    from simulator.host import Host


def tags(host: "Host") -> dict[str, Any]:
    """``GET /api/tags``: the models on the disk, newest first."""
    newest_first = sorted(host.disk, key=lambda model: model.modified_ns, reverse=True)
    return {"models": [_tag(host, model) for model in newest_first]}


async def ps(host: "Host") -> dict[str, Any]:
    """``GET /api/ps``: the models in memory, latest expiry first.

    H waits for a runner that is being unloaded; O goes on listing it until it is gone.
    """
    scheduler = host.scheduler
    if host.settings.line == "H":
        for loaded in list(scheduler.loaded.values()):
            if loaded.unloading:
                await loaded.gone.wait()
    latest_first = sorted(scheduler.loaded.values(), key=lambda loaded: loaded.expires_at_ns, reverse=True)
    return {"models": [_running(host, loaded) for loaded in latest_first]}


def show(host: "Host", body: bytes) -> dict[str, Any]:
    """``POST /api/show``.

    Raises:
        BadRequest: 400 without a model, 404 for one that is not here.
    """
    value = read_object(body)
    sent = value.get("model") or value.get("name")
    if not sent:
        raise BadRequest("model is required")
    try:
        name = parse_name(str(sent))
        model = host.disk.get(name)
    except BadName as error:
        raise BadRequest(str(error)) from None
    except NotFound:
        shown = sent if host.settings.line == "O" else name.short
        raise BadRequest(f"model '{shown}' not found", 404) from None
    parameters = _parameters(model)
    answer: dict[str, Any] = {"license": model.model.license} if model.model.license else {}
    answer["modelfile"] = _modelfile(model)
    if parameters:
        answer["parameters"] = parameters
    answer["template"] = model.template_source
    if model.model.system:
        answer["system"] = model.model.system
    parent = f"/models/blobs/sha256-{digest_of(model.blob)}" if host.settings.line == "O" else ""
    parent = model.parent or parent
    answer["details"] = _details(model, parent=parent)
    if model.model.messages:
        answer["messages"] = [{"role": role, "content": text} for role, text in model.model.messages]
    answer["model_info"] = model_info(model.model, host.settings.line)
    if value.get("verbose") and model.model.script is not None:
        answer["model_info"] |= scripted_tokens(model.model.script)
    answer["tensors"] = tensors(model.model, host.settings.line)
    answer["capabilities"] = list(model.capabilities)
    answer["modified_at"] = host.clock.stamp_of(model.modified_ns)
    return answer


def read_object(body: bytes) -> dict[str, Any]:
    """A body that must be a JSON object, keys in lower case.

    Raises:
        BadRequest: it is not.
    """
    if not body.strip():
        raise EmptyBody
    try:
        value = gojson.loads(body)
    except gojson.BadJson as error:
        raise BadRequest(str(error)) from None
    if not isinstance(value, dict):
        raise BadRequest(f"json: cannot unmarshal {gojson.kind(value)} into Go value of type api.ShowRequest")
    return {key.lower(): one for key, one in value.items()}


def _tag(host: "Host", model: LocalModel) -> dict[str, Any]:
    tag: dict[str, Any] = {
        "name": model.name.short,
        "model": model.name.short,
        "modified_at": host.clock.stamp_of(model.modified_ns),
        "size": model.model.size_bytes,
        "digest": model.digest,
        "details": _details(model),
    }
    if host.settings.line == "H" and "embedding" in model.capabilities:
        tag["capabilities"] = ["completion"]  # as recorded: /api/show alone tells that it only embeds
    elif host.settings.line == "H":
        tag["details"] |= {
            "context_length": model.model.trained_context,
            "embedding_length": model.model.embedding_length,
        }
        tag["capabilities"] = list(model.capabilities)
    return tag


def _running(host: "Host", loaded: Loaded) -> dict[str, Any]:
    settings = host.settings
    on_gpu = min(loaded.size, settings.memory_bytes) if settings.gpu else 0
    return {
        "name": loaded.model.name.short,
        "model": loaded.model.name.short,
        "size": loaded.size,
        "digest": loaded.model.digest,
        "details": _details(loaded.model),
        "expires_at": host.clock.stamp_of(loaded.expires_at_ns),
        "size_vram": on_gpu,
        "context_length": loaded.runner.window.size,
    }


def _details(model: LocalModel, *, parent: str = "") -> dict[str, Any]:
    return {
        "parent_model": parent,
        "format": "gguf",
        "family": model.model.family,
        "families": [model.model.family],
        "parameter_size": model.model.parameter_size,
        "quantization_level": model.model.quantization,
    }


def _parameters(model: LocalModel) -> str:
    lines: list[str] = []
    for name, value in sorted(model.parameters.items()):
        values = value if isinstance(value, list | tuple) else [value]
        lines += [f"{name:<30} {_go_value(one)}" for one in values]
    return "\n".join(lines)


def _go_value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return gojson.quoted(value)
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return str(value)


def _modelfile(model: LocalModel) -> str:
    lines = [
        '# Modelfile generated by "ollama show"',
        "# To build a new Modelfile based on this, replace FROM with:",
        f"# FROM {model.name.short}",
        "",
        f"FROM /models/blobs/sha256-{digest_of(model.blob)}",
    ]
    if not model.model.untemplated:
        source = model.template_source
        lines.append(f'TEMPLATE """{source}"""' if '"' in source or "\n" in source else f"TEMPLATE {source}")
    if model.model.system:
        lines.append(f"SYSTEM {model.model.system}")
    for name, value in sorted(model.parameters.items()):
        lines.append(f"PARAMETER {name} {_go_value(value)}")
    if model.model.license:
        lines.append(f"LICENSE {model.model.license}")
    lines += [f"MESSAGE {role} {text}" for role, text in model.model.messages]
    return "\n".join(lines) + "\n"
