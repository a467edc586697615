"""Is this host set up well? Everything that can be told by asking it, each with what to do about it.

The host is asked a few short questions of its own: the model that is loaded answers them, else the smallest is loaded.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import urlsplit

from worker.domain.hosts import Host, HostModel, LoadedModel
from worker.domain.numbers import count_of
from worker.domain.replies import Reply
from worker.domain.runners import RunnerKey, normalise_model
from worker.errors import Code, HostError, SettingsRefused
from worker.hosts.registry import OpenHost
from worker.kinds.generate.kind import ReplyReader
from worker.kinds.generate.request import PATH
from worker.ollama.between import SPEAKS_TLS, speaks_tls
from worker.ollama.client import Call, OllamaHost
from worker.ollama.failures import is_dropped, is_refused
from worker.ollama.secrets import is_exposed
from worker.records import record

Level = Literal["ok", "warn", "bad"]
What = Literal["reach", "access", "models", "model", "streaming", "parallel", "gpu"]

AT_ONCE = 8
"""So many requests are sent together at least."""
TOKENS = 48
ENOUGH_TOKENS = 8
ENOUGH_SECONDS = 0.1
"""An answer quicker than that, or shorter, shows nothing of when its pieces came."""
KEEP_SECONDS = 300.0
PROMPT = "Count from 1 to 200, each number on a line of its own."


@record
class HostFinding:
    """One thing that was looked at. ``bad``: the host cannot serve like this; ``warn``: it serves worse than it could."""

    level: Level
    what: What
    message: str
    remedy: str = ""


@record
class Timed:
    """An answer, when its request was sent, and when its first and its last piece came (seconds of one clock)."""

    reply: Reply
    begin: float
    first: float
    last: float


OnLoad = Callable[[RunnerKey], None]


def findings(
    host: Host,
    *,
    open_host: OpenHost,
    model: str | None = None,
    resident: RunnerKey | None = None,
    on_load: OnLoad = lambda _: None,
) -> Iterator[HostFinding]:
    """Look at ``host``, one finding after the other as they come. Ends at the first without which no other makes sense.

    ``resident`` is what Caravan has loaded there, where known: asked with the same options it is not loaded again.
    ``on_load`` gets what the check loads. Never raises for what the host does.
    """
    yield from _of_access(host)
    wide = replace(host, slots=max(AT_ONCE, host.slots + 1))
    try:
        gpu = open_host(wide)
    except SettingsRefused as error:
        yield HostFinding(
            "bad", "access", str(error), "set it where the host is served, or name another: caravan hosts set"
        )
        return
    try:
        yield from _of_host(host, gpu, model, resident, wide.slots, on_load)
    finally:
        gpu.close()


def _of_host(
    host: Host,
    gpu: OllamaHost,
    named: str | None,
    resident: RunnerKey | None,
    at_once: int,
    on_load: OnLoad,
) -> Iterator[HostFinding]:
    began = time.monotonic()
    try:
        version = gpu.version()
        milliseconds = (time.monotonic() - began) * 1000
        models, loaded = gpu.models(), gpu.loaded()
    except HostError as error:
        yield _away(host, error)
        return
    yield HostFinding("ok", "reach", f"Ollama {version} at {host.url}, answers in {milliseconds:.0f} ms")
    if not models:
        yield HostFinding("bad", "models", "it has no model that generates", "there: ollama pull llama3.2:3b")
        return
    yield HostFinding(
        "ok",
        "models",
        f"{count_of(len(models), 'model')}: {', '.join(sorted(model.name for model in models))}",
    )
    speaking = [model for model in models if not model.only_embeds]
    if named is None and not speaking:
        yield HostFinding(
            "ok", "model", "it has embedding models only: its answers to prompts are not measured"
        )
        return
    name, why = _chosen(models if named else speaking, loaded, named)
    if name is not None and any(model.name == name and model.only_embeds for model in models):
        yield HostFinding(
            "bad", "model", f"{name} is an embedding model and answers no prompts", "name another model"
        )
        return
    if name is None:
        yield HostFinding("bad", "model", why, f"there: ollama pull {named}")
        return
    key = _key(name, loaded, resident)
    try:
        if all(resident_model.name != name for resident_model in loaded):
            seconds = gpu.load(key, keep_alive=KEEP_SECONDS)
            why += f", loaded in {seconds:.1f} s"
            on_load(key)
        yield HostFinding("ok", "model", f"asked {name}: {why}")
        timed = _ask(gpu, key)
        flows = _of_streaming(timed)
        yield flows
        if flows.level == "ok":
            yield _of_parallel(host, _ask_together(gpu, key, at_once))
        else:
            yield HostFinding(
                "warn", "parallel", "not measured: a proxy holds the answers back", flows.remedy
            )
        yield _of_memory(name, gpu.loaded())
    except HostError as error:
        yield _failed(host, name, error)


# -- before it is asked -------------------------------------------------------------------------------------------


def _of_access(host: Host) -> Iterator[HostFinding]:
    access, parts = host.access, urlsplit(host.url)
    named = [f"basic auth from {access.basic_auth}"] if access.basic_auth else []
    named += [f"bearer token from {access.bearer}"] if access.bearer else []
    named += [f"{name} from {reference}" for name, reference in access.headers]
    references = (access.basic_auth, access.bearer, *(reference for _, reference in access.headers))
    for reference in references:
        if reference is not None and is_exposed(reference):
            place = reference.removeprefix("file:")
            yield HostFinding(
                "warn", "access", f"every user of this machine can read {place}", f"chmod 600 {place}"
            )
    if named and parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        yield HostFinding(
            "warn",
            "access",
            f"{', '.join(named)} goes over the network without encryption",
            "use https:// (--ca-file FILE for an authority of your own), or a tunnel: " + _tunnel(host),
        )
    elif named:
        yield HostFinding("ok", "access", ", ".join(named))


def _tunnel(host: Host) -> str:
    """The command that brings the host's own port to this machine."""
    place = urlsplit(host.url).hostname or host.name
    there = "USER@HOST" if place in ("127.0.0.1", "localhost", "::1") else place
    return f"ssh -N -L 11434:127.0.0.1:11434 {there}"


# -- reach --------------------------------------------------------------------------------------------------------


def _away(host: Host, error: HostError) -> HostFinding:
    message, remedy = error.message, ""
    here = urlsplit(host.url).hostname in ("127.0.0.1", "localhost", "::1")
    again = f"caravan hosts set {host.name}"
    match error.status:
        case 401 | 403 | 407:
            return HostFinding(
                "bad", "access", message, f"{again} --basic-auth env:NAME, or --bearer file:PATH"
            )
        case 404 | 405:
            return HostFinding(
                "bad", "reach", message, f"{again} --url URL, with the path that leads to Ollama"
            )
        case 502 | 503 | 504:
            return HostFinding(
                "bad",
                "reach",
                message,
                "check Ollama behind that proxy, and the address that the proxy forwards to",
            )
    cause = error.__cause__
    if "not trusted" in message:
        remedy = f"{again} --ca-file FILE"
    elif "http://, not https://" in message:
        remedy = f"{again} --url {host.url.replace('https://', 'http://', 1)}"
    elif message.startswith(SPEAKS_TLS) or (
        host.url.startswith("http://") and is_dropped(cause) and speaks_tls(host.url, seconds=2)
    ):
        message, remedy = SPEAKS_TLS, f"{again} --url {host.url.replace('http://', 'https://', 1)}"
    elif is_refused(cause) and here:
        remedy = f"start Ollama there (ollama serve); for one on another machine: {_tunnel(host)}"
    elif "name is not known" in message:
        remedy = f"correct the name: {again} --url URL"
    elif error.code is Code.HOST_UNREACHABLE:
        remedy = (
            "Ollama listens to its own machine only, unless it is started with OLLAMA_HOST=0.0.0.0 (then anybody who "
            f"reaches the port may use it); or keep it so and tunnel: {_tunnel(host)}, and {again} --url "
            "http://127.0.0.1:11434"
        )
    elif error.code is Code.BAD_REPLY:
        remedy = f"something else answers there: {again} --url URL"
    return HostFinding("bad", "reach", message, remedy)


# -- the model that is asked --------------------------------------------------------------------------------------


def _chosen(
    models: Sequence[HostModel], loaded: Sequence[LoadedModel], named: str | None
) -> tuple[str | None, str]:
    """The model to ask and why that one; None where the wanted one is not there."""
    names = {model.name for model in models}
    if named is not None:
        name = normalise_model(named)
        return (name, "named by --model") if name in names else (None, f"it does not have {name}")
    for resident in loaded:
        if resident.name in names:
            return resident.name, "it was already loaded"
    smallest = min(models, key=lambda model: (model.size, model.name))
    return smallest.name, "the smallest model of the host"


def _key(name: str, loaded: Sequence[LoadedModel], resident: RunnerKey | None) -> RunnerKey:
    """What to ask with so that a loaded model stays loaded. A server does not tell all the options it loaded with."""
    if resident is not None and resident.model == name:
        return resident
    window = next((model.context_length for model in loaded if model.name == name), None)
    return RunnerKey(name, (("num_ctx", window),) if window else ())


# -- what it does -------------------------------------------------------------------------------------------------


def _ask(gpu: OllamaHost, key: RunnerKey) -> Timed:
    call = Call()
    request: dict[str, Any] = {
        "model": key.model,
        "prompt": PROMPT,
        "think": False,
        "truncate": False,
        "shift": key.shift,
        "options": {**dict(key.options), "num_predict": TOKENS, "temperature": 0},
    }
    reply = gpu.ask(PATH, {**request, "stream": True}, ReplyReader(), call)
    return Timed(reply, call.started_at or 0.0, call.first_byte_at or 0.0, call.last_byte_at or 0.0)


def _ask_together(gpu: OllamaHost, key: RunnerKey, at_once: int) -> list[Timed]:
    with ThreadPoolExecutor(at_once, thread_name_prefix="check") as pool:
        try:
            return list(pool.map(lambda _: _ask(gpu, key), range(at_once)))
        except BaseException:
            gpu.close()  # the others end at once
            raise


def _of_streaming(timed: Timed) -> HostFinding:
    """Held back: what took a second to generate came within a moment."""
    spread = timed.last - timed.first
    # a simulated host may say longer than it took
    seconds = min(timed.reply.eval_duration / 1e9, timed.last - timed.begin)
    if timed.reply.eval_count < ENOUGH_TOKENS or seconds < ENOUGH_SECONDS:
        return HostFinding(
            "ok", "streaming", "the answer was too quick to tell whether a proxy holds it back"
        )
    if spread < seconds / 2:
        return HostFinding(
            "warn",
            "streaming",
            f"an answer that took {seconds:.1f} s came all at once: a proxy holds it back until it is complete, so a "
            "long one looks like a host that hangs",
            "in the proxy: proxy_buffering off (nginx), flush_interval -1 (Caddy)",
        )
    return HostFinding(
        "ok", "streaming", f"an answer comes as it is made: {timed.reply.chunks} pieces over {spread:.1f} s"
    )


def overlapping(spans: Sequence[tuple[float, float]]) -> int:
    """How many of these spans of time there are at once, at most. A tenth off each end: clocks and threads are not exact.

    >>> overlapping([(0, 10), (1, 11), (10.5, 20)])
    2
    """
    edges = []
    for first, last in spans:
        margin = (last - first) / 10
        edges += [(first + margin, 1), (last - margin, -1)]
    most = now = 0
    for _, step in sorted(edges):
        now += step
        most = max(most, now)
    return most


def _of_parallel(host: Host, timed: Sequence[Timed]) -> HostFinding:
    long_enough = [call for call in timed if call.reply.eval_count >= ENOUGH_TOKENS]
    if (
        len(long_enough) < len(timed)
        or min(call.last - call.first for call in long_enough) < ENOUGH_SECONDS / 2
    ):
        return HostFinding("ok", "parallel", "the answers were too quick to tell how many it gives at once")
    parallel = overlapping([(call.first, call.last) for call in long_enough])
    least = "at least " if parallel == len(timed) else ""
    rate = sum(call.reply.eval_count for call in long_enough) / (
        max(call.last for call in long_enough) - min(call.first for call in long_enough)
    )
    words = f"it gives {least}{parallel} answers at once ({rate:.0f} tokens/s together), its slots are {host.slots}"
    if parallel < host.slots:
        return HostFinding(
            "warn",
            "parallel",
            words,
            f"start Ollama there with OLLAMA_NUM_PARALLEL={host.slots}, or caravan hosts set {host.name} --slots {parallel}",
        )
    if parallel > host.slots:
        return HostFinding("warn", "parallel", words, f"caravan hosts set {host.name} --slots {parallel}")
    return HostFinding("ok", "parallel", words)


def _of_memory(name: str, loaded: Sequence[LoadedModel]) -> HostFinding:
    model = next((model for model in loaded if model.name == name), None)
    if model is None or not model.size:
        return HostFinding("ok", "gpu", f"{name} is not loaded any more, so its share in the GPU is unknown")
    if model.size_vram >= model.size:
        return HostFinding("ok", "gpu", f"{name} is entirely in the GPU ({model.size / 1e9:.1f} GB)")
    share = 1 - model.size_vram / model.size
    if not model.size_vram:
        words, remedy = (
            f"{name} runs on the CPU alone",
            "if the host has a GPU, Ollama's log says why it is not used",
        )
    else:
        words = f"{share:.0%} of {name} ({model.size / 1e9:.1f} GB) is on the CPU, which slows all of it down"
        remedy = (
            "a smaller num_ctx, fewer slots (each has a window of its own), a smaller model or quantisation"
        )
    return HostFinding("warn", "gpu", words, remedy)


def _failed(host: Host, name: str, error: HostError) -> HostFinding:
    match error.code:
        case Code.LOAD_FAILED | Code.OUT_OF_MEMORY:
            remedy = "read the host's log; try a smaller model: caravan hosts check --model NAME"
        case _ if error.status in (502, 504, 524):
            remedy = (
                "in the proxy: a read time-out longer than the longest load (nginx: proxy_read_timeout 900s)"
            )
        case _:
            remedy = "read the host's log"
    return HostFinding("bad", "model", f"{name} did not answer ({error.code}): {error.message}", remedy)
