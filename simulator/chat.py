"""``POST /api/chat``: messages in, a message out.

Source: ``server/routes.go ChatHandler``, ``server/prompt.go chatPrompt``.
"""

from functools import partial

from simulator.answers import Job, Machine, answer, options_of
from simulator.bodies import BadRequest, ChatRequest, read_chat
from simulator.failures import Failed
from simulator.generate import (
    check_capability,
    find_model,
    fits,
    parser_for,
    quoted_name,
    template_of,
    think_of,
)
from simulator.http import JSON, Reply
from simulator.models import Disk, LocalModel
from simulator.prompt import Message, Think, fitting, rendered, with_image_marks
from simulator.runner import Runner
from simulator.template_nodes import TemplateError
from simulator.tools import ToolParser, as_template_values, calls_as_template_values, tag_of
from simulator.wording import ChatWording, Wording


async def chat(machine: Machine, disk: Disk, body: bytes, reply: Reply) -> None:
    """Answer a chat request.

    Raises:
        BadRequest, Failed: it is refused; nothing was sent yet.
    """
    request = read_chat(body)
    await serve(machine, disk, request, ChatWording(request.model, machine.clock), reply)


async def serve(machine: Machine, disk: Disk, request: ChatRequest, wording: Wording, reply: Reply) -> None:
    """Answer in any wording (``/v1/chat/completions`` comes this way too)."""
    if not request.model:
        raise BadRequest("model is required")
    model = find_model(disk, request.model)
    if not request.messages and request.keep_alive == 0:
        machine.scheduler.expire(model)
        reply.send(200, JSON, wording.brief("unload"))
        return
    think = think_of(request.think, model, request.model)
    check_capability(model, "completion", f"{quoted_name(request.model)} does not support chat")
    if request.tools:
        check_capability(model, "tools", f"{model.name.full} does not support tools")
    messages = _messages(model, request)
    job = Job(
        model,
        request.model,
        options_of(machine, model, request.options),
        request.keep_alive,
        shift=request.shift is not False,
        truncate=request.truncate,
        stream=request.stream,
        format=request.format,
        logprobs=request.top_logprobs if request.logprobs else None,
        images=[one for pictures in request.images for one in pictures],
        prompt_text="\n".join(message.content for message in messages),
        empty=not request.messages,
        debug_render_only=request.debug_render_only,
        with_context=False,
        render=lambda runner: _prompt(machine, model, messages, request, think, runner),
        parser=lambda prompt: parser_for(model, think, prompt),
        calls=_calls(model, request),
        resume=partial(_resumed, machine, model, messages, request, think) if request.format else None,
    )
    await answer(machine, job, wording, reply)


def _calls(model: LocalModel, request: ChatRequest) -> ToolParser | None:
    """What reads calls of tools; beside a format the grammar wins."""
    tag = tag_of(model.template_source) if request.tools and not request.format else None
    return None if tag is None else ToolParser(tag, request.tools)


def _messages(model: LocalModel, request: ChatRequest) -> list[Message]:
    """The model's own messages and system text before those of the request."""
    sent = [
        Message(
            str(message.get("role") or ""),
            str(message.get("content") or ""),
            str(message.get("thinking") or ""),
            len(message.get("images") or ()),
            tuple(calls_as_template_values(message.get("tool_calls") or ())),
            str(message.get("tool_name") or ""),
        )
        for message in request.messages
    ]
    before = [Message(role, text) for role, text in model.model.messages]
    if model.model.system and sent and sent[0].role != "system":
        before.insert(0, Message("system", model.model.system))
    return before + sent


def _resumed(
    machine: Machine,
    model: LocalModel,
    messages: list[Message],
    request: ChatRequest,
    think: Think,
    runner: Runner,
    thinking: str,
) -> str:
    """The prompt with what the model has thought as its last message."""
    thought = Message("assistant", "", thinking)
    return _prompt(machine, model, [*messages, thought], request, think, runner)


def _prompt(
    machine: Machine,
    model: LocalModel,
    messages: list[Message],
    request: ChatRequest,
    think: Think,
    runner: Runner,
) -> str:
    template = template_of(machine, model, "")
    tools = as_template_values(request.tools)
    seeing = "vision" in model.capabilities
    images = sum(message.images for message in messages) if seeing else 0
    marked = with_image_marks(messages) if seeing or machine.settings.line == "O" else messages
    try:
        if not request.truncate:
            return rendered(template, marked, think, tools)
        return fitting(template, marked, think, fits=partial(fits, runner, images), tools=tools)
    except TemplateError as error:
        raise Failed(500, str(error)) from None
