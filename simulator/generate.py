"""``POST /api/generate``: the checks in the server's order, then the answer.

Source: ``server/routes.go GenerateHandler``.
"""

from functools import partial

from simulator.answers import Job, Machine, answer, options_of
from simulator.bodies import BadRequest, GenerateRequest, read_generate
from simulator.bodies import Think as Asked
from simulator.failures import CLOUD_OFF, Failed, llama_server_error
from simulator.http import JSON, Reply
from simulator.models import Disk, LocalModel, NotFound
from simulator.names import BadName, parse_name, without_source
from simulator.pictures import TOKENS
from simulator.prompt import Message, Think, fitting, rendered, rendered_fill_in, with_image_marks
from simulator.runner import Runner
from simulator.template import Template, parse
from simulator.template_nodes import TemplateError
from simulator.templates import PLAIN
from simulator.thinking import ThinkingParser
from simulator.thinking_tags import infer_tags
from simulator.tokens import UnknownToken
from simulator.wording import GenerateWording, Wording


async def generate(machine: Machine, disk: Disk, body: bytes, reply: Reply) -> None:
    """Answer a generate request.

    Raises:
        BadRequest, Failed: it is refused; nothing was sent yet.
    """
    request = read_generate(body)
    await serve(machine, disk, request, GenerateWording(request.model, machine.clock), reply)


async def serve(
    machine: Machine,
    disk: Disk,
    request: GenerateRequest,
    wording: Wording,
    reply: Reply,
    *,
    context: bool = True,
) -> None:
    """Answer in any wording (``/v1/completions`` comes this way too)."""
    model = find_model(disk, request.model)
    empty = not request.prompt
    if empty and request.keep_alive == 0:
        machine.scheduler.expire(model)
        reply.send(200, JSON, wording.brief("unload"))
        return
    if request.raw and (request.template or request.system or request.context):
        raise BadRequest("raw mode does not support template, system, or context")
    think = think_of(request.think, model, request.model)
    check_capability(model, "completion", f"{quoted_name(request.model)} does not support generate")
    if request.suffix:
        check_capability(model, "insert", f"{model.name.full} does not support insert")
    job = Job(
        model,
        request.model,
        options_of(machine, model, request.options),
        request.keep_alive,
        shift=request.shift is not False or machine.settings.is_older_than_truncate,
        truncate=request.truncate or machine.settings.is_older_than_truncate,
        stream=request.stream,
        format=request.format,
        logprobs=request.top_logprobs if request.logprobs else None,
        images=request.images,
        prompt_text=request.prompt,
        empty=empty,
        debug_render_only=request.debug_render_only,
        with_context=context and not request.raw,
        render=lambda runner: _prompt(machine, model, request, think, runner),
        parser=lambda prompt: parser_for(model, think, prompt),
    )
    await answer(machine, job, wording, reply)


def find_model(disk: Disk, name: str) -> LocalModel:
    """The model of a request.

    Raises:
        BadRequest: the name is not valid (400), nothing has it (404), or it is a cloud model (403).
    """
    if not name:
        raise BadRequest("model '' not found", 404)
    try:
        bare, in_the_cloud = without_source(name)
        if in_the_cloud:
            raise BadRequest(CLOUD_OFF, 403)
        return disk.get(parse_name(bare))
    except BadName as error:
        raise BadRequest(str(error)) from None
    except NotFound:
        raise BadRequest(f"model '{name}' not found", 404) from None


def think_of(think: Asked | None, model: LocalModel, name: str) -> Think:
    """Whether the model is to think: what was asked for, else on where it can.

    Raises:
        BadRequest: thinking is asked of a model that cannot.
    """
    can = "thinking" in model.capabilities
    if think is not None:
        if think.on and not can:
            raise BadRequest(f"{quoted_name(name)} does not support thinking")
        return Think(think.on, True, think.level)
    return Think(can, can, "medium" if can else "")


def quoted_name(name: str) -> str:
    return f'"{name}"'


def check_capability(model: LocalModel, capability: str, text: str) -> None:
    """Refuse what the model cannot do.

    Raises:
        BadRequest: with that text.
    """
    if capability not in model.capabilities:
        raise BadRequest(text)


def parser_for(model: LocalModel, think: Think, prompt: str) -> ThinkingParser | None:
    """The parser that splits reasoning off, where the template tells the tags and thinking is on."""
    tags = infer_tags(model.template_source) if think.on else None
    if tags is None:
        return None
    opening, closing = tags
    return ThinkingParser(opening, closing, opened=prompt.strip().endswith(opening))


def template_of(machine: Machine, model: LocalModel, override: str) -> Template:
    """The template to render with: that of the request, of the model, or of the weights.

    Raises:
        Failed: it does not parse (500).
    """
    try:
        if override:
            return parse(override)
        if model.model.untemplated and machine.settings.line == "H":
            return parse(PLAIN)  # the chat template inside the weights, in Go's language
        return model.template
    except TemplateError as error:
        raise Failed(500, str(error)) from None


def _prompt(
    machine: Machine, model: LocalModel, request: GenerateRequest, think: Think, runner: Runner
) -> str:
    template = template_of(machine, model, request.template)
    if request.raw:
        return request.prompt
    try:
        before = runner.decode(request.context) if request.context else ""
    except UnknownToken as error:
        if machine.settings.line == "O":
            machine.kill()
        raise Failed(500, _detokenize_error(error)) from None
    if request.suffix:
        return before + rendered_fill_in(template, request.prompt, request.suffix, think)
    messages: list[Message] = []
    system = request.system or model.model.system
    if system:
        messages.append(Message("system", system))
    if not request.context:
        messages += [Message(role, content) for role, content in model.model.messages]
    messages.append(Message("user", request.prompt, images=len(request.images)))
    if machine.settings.line == "O" or "vision" in model.capabilities:
        messages = with_image_marks(messages)
    try:
        if not request.truncate or request.template:
            return before + rendered(template, messages, think)
        images = len(request.images) if "vision" in model.capabilities else 0
        return before + fitting(template, messages, think, fits=partial(fits, runner, images))
    except TemplateError as error:
        raise Failed(500, str(error)) from None


def fits(runner: Runner, images: int, text: str) -> bool:
    """Whether a prompt fits the window of a runner; a character is four tokens at most."""
    size = runner.window.size - images * TOKENS
    return 4 * len(text) < size or len(runner.encode(text)) <= size


def _detokenize_error(error: UnknownToken) -> str:
    message = f"vector::_M_range_check: __n (which is {error.token}) >= this->size() (which is {error.size})"
    return f"detokenize error: {llama_server_error(500, message, 'server_error')}"
