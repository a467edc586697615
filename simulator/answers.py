"""How a completion becomes a reply: get the model, say the pieces, end well or badly.

The order is the server's: schedule, then (for an empty prompt) the brief reply, then render, then generate.
Source: ``server/routes.go GenerateHandler``, ``ChatHandler``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from simulator import gojson
from simulator.clock import Clock
from simulator.diary import Diary
from simulator.failures import (
    BUSY,
    ENCOUNTERED,
    NO_IMAGES,
    STOPPED,
    Failed,
    llama_server_error,
    prompt_too_long,
    unreadable_image,
)
from simulator.faults import FaultScript
from simulator.grammar import BadFormat, Grammar, grammar_of
from simulator.http import Reply
from simulator.mishaps import Interruption, Mishap, acted_out_instead
from simulator.models import LocalModel
from simulator.options import BadOption, Options, resolved
from simulator.pictures import MIN_NUM_CTX, Picture
from simulator.runner import Completion, Ending, Piece, PromptTooLong, Runner, RunnerBroke
from simulator.scheduler import Loaded, LoadFailed, QueueFull, Scheduler
from simulator.settings import HostSettings
from simulator.speaker import ReasoningOver, Speaker
from simulator.state import Counters
from simulator.thinking import ThinkingParser
from simulator.tools import ToolParser
from simulator.wording import Final, Wording


class Machine(Protocol):
    """What answering needs of a host."""

    settings: HostSettings
    clock: Clock
    counters: Counters
    diary: Diary
    scheduler: Scheduler
    faults: FaultScript

    def kill(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Job:
    """A request, checked, with what is needed to answer it."""

    model: LocalModel
    request_name: str
    options: Options
    keep_alive: float | None
    shift: bool
    truncate: bool
    stream: bool
    format: Any
    logprobs: int | None
    images: Sequence[Picture]
    prompt_text: str
    empty: bool
    debug_render_only: bool
    with_context: bool
    render: Callable[[Runner], str]
    parser: Callable[[str], ThinkingParser | None]
    calls: ToolParser | None = None
    resume: Callable[[Runner, str], str] | None = None
    """The prompt that goes on after a reasoning, where a format waits until the model has reasoned."""


def options_of(machine: Machine, model: LocalModel, fields: Any) -> Options:
    """Resolve a request's options on this host.

    Raises:
        Failed: an option has the wrong type (500).
    """
    settings = machine.settings
    try:
        options = resolved(
            model.parameters,
            fields,
            line=settings.line,
            trained_context=model.model.trained_context,
            default_num_ctx=settings.context_length or _window_for(settings.memory_bytes),
            default_is_auto=not settings.context_length,
        )
    except BadOption as error:
        raise Failed(500, str(error)) from None
    if "vision" in model.capabilities and options.runner.num_ctx < MIN_NUM_CTX:
        return replace(options, runner=replace(options.runner, num_ctx=MIN_NUM_CTX))
    return options


def _window_for(memory_bytes: int) -> int:
    """The default window by the size of the memory (``server/routes.go``)."""
    gib = memory_bytes / 2**30
    return 262_144 if gib >= 47 else 32_768 if gib >= 23 else 4_096


async def answer(machine: Machine, job: Job, wording: Wording, reply: Reply) -> None:
    """Serve one request to its end.

    Raises:
        Failed, BadRequest: nothing was sent yet; the caller words the error.
    """
    clock = machine.clock
    began = clock.now()
    fault = None if job.empty else machine.faults.strike(job.model.name.short, job.prompt_text)
    if fault is not None and await acted_out_instead(fault, reply, wording.error):
        return
    loaded = await _granted(machine, job)
    granted = clock.now()
    try:
        if job.empty:
            reply.send(200, wording.whole_type, wording.brief("load"))
            return
        runner = loaded.runner
        prompt = job.render(runner)
        if job.debug_render_only:
            reply.send(200, wording.whole_type, _debug_info(job, clock, prompt))
            return
        speaker = Speaker(wording, reply, job.parser(prompt), stream=job.stream, calls=job.calls)
        if fault is not None and fault.kind == "says":
            read, spoken = len(runner.encode(prompt)), len(runner.encode(fault.text))
            speaker.say(Piece(fault.text))
            speaker.end(Final(fault.done_reason, prompt_tokens=read, answer_tokens=spoken))
            return
        mishap = None if fault is None else Mishap(fault, clock, reply, runner.process, machine.kill)
        machine.counters.generation_began()
        number = machine.diary.began(job.model.name.short, job.prompt_text)
        whole, tokens = False, 0
        try:
            ending = await _said(machine, job, runner, prompt, speaker, reply, mishap)
        except Interruption as interruption:
            if interruption.cut:
                speaker.cut()
            else:
                speaker.end(None)
        except Failed as error:
            speaker.fail(error.status, error.text)
        else:
            final = None
            if ending is not None:
                machine.counters.completed += 1
                machine.counters.tokens += ending.answer_tokens
                tokens = ending.answer_tokens
                final = _final(clock, job, runner, prompt + speaker.raw, ending, began, granted)
            speaker.end(final)
            whole = final is not None
        finally:
            machine.counters.concurrent -= 1
            machine.diary.ended(number, whole=whole, tokens=tokens, text=speaker.raw)
    finally:
        machine.scheduler.release(loaded)


async def _said(
    machine: Machine,
    job: Job,
    runner: Runner,
    prompt: str,
    speaker: Speaker,
    reply: Reply,
    mishap: Mishap | None,
) -> Ending | None:
    """Let the runner speak; None when it stopped without an end of its own.

    A chat with a format first reasons without it. At the first word of an answer it is broken off and goes on under the
    format, in a call of its own: the counts of the reply are those of the second call.

    Raises:
        Failed: with the error of whoever found it.
        Interruption: a fault broke the answer off.
    """
    line, seeing = machine.settings.line, "vision" in job.model.capabilities
    if job.images and line == "H" and not seeing:
        raise Failed(400, llama_server_error(400, NO_IMAGES, "invalid_request_error"))
    if seeing and not all(image.readable for image in job.images):
        raise unreadable_image(line)
    complete = partial(_completed, machine, job, runner, reply=reply, mishap=mishap)
    if job.resume is not None and speaker.splits_reasoning:
        try:
            return await complete(prompt, None, speaker.reason)
        except ReasoningOver as over:
            prompt = job.resume(runner, over.thinking)
    return await complete(prompt, _grammar(machine, job), speaker.say)


async def _completed(
    machine: Machine,
    job: Job,
    runner: Runner,
    prompt: str,
    grammar: Grammar | None,
    say: Callable[[Piece], None],
    *,
    reply: Reply,
    mishap: Mishap | None,
) -> Ending | None:
    """One call of the runner; raises as ``_said`` does, and what ``say`` raises."""
    completion = Completion(
        prompt,
        job.options.sampling,
        grammar,
        truncate=job.truncate,
        shift=job.shift,
        top_logprobs=job.logprobs,
        interrupt=None if mishap is None else mishap.at,
        breathe=reply.drained,
        images=job.images if "vision" in job.model.capabilities else (),
    )
    try:
        return await runner.complete(completion, say)
    except PromptTooLong as error:
        raise prompt_too_long(error, machine.settings.line, truncate=job.truncate, shift=job.shift) from None
    except RunnerBroke as error:
        raise Failed(500, ENCOUNTERED if error.spoke else STOPPED) from None
    except Interruption as interruption:
        if interruption.text is None:
            raise
        raise Failed(500, interruption.text) from None


def _final(
    clock: Clock, job: Job, runner: Runner, conversation: str, ending: Ending, began: float, granted: float
) -> Final:
    load = max(1e-9, granted - began)
    total = max(clock.now() - began, load + ending.prompt_seconds + ending.answer_seconds)
    return Final(
        ending.done_reason,
        total=int(total * 1e9) + 1,
        load=int(load * 1e9),
        prompt_tokens=ending.prompt_tokens,
        prompt=max(1, int(ending.prompt_seconds * 1e9)),
        answer_tokens=ending.answer_tokens,
        answer=int(ending.answer_seconds * 1e9),
        context=runner.encode(conversation) if job.with_context else None,
    )


async def _granted(machine: Machine, job: Job) -> Loaded:
    try:
        return await machine.scheduler.grant(
            job.model,
            job.options.runner,
            keep_alive=job.keep_alive,
            shift=job.shift,
        )
    except QueueFull:
        machine.counters.refused_503 += 1
        raise Failed(503, BUSY) from None
    except LoadFailed as error:
        raise Failed(500, str(error)) from None


def _grammar(machine: Machine, job: Job) -> Grammar | None:
    try:
        return grammar_of(job.format, machine.settings.line)
    except BadFormat as error:
        if not error.of_llama_server:
            raise Failed(500, str(error)) from None
        raise Failed(400, llama_server_error(400, str(error), "invalid_request_error")) from None


def _debug_info(job: Job, clock: Clock, prompt: str) -> bytes:
    info = {"rendered_template": prompt} | ({"image_count": len(job.images)} if job.images else {})
    empty = '"response":""' if job.with_context else '"message":{"role":"","content":""}'
    return (
        f'{{"model":{gojson.string(job.request_name)},"created_at":"{clock.stamp()}",{empty},'
        f'"done":false,"_debug_info":{gojson.dumps(info)}}}'
    ).encode()
