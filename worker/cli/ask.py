"""``caravan ask``: one prompt, answered as it is written, and kept like every other."""

import json
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.groups import option
from worker.cli.plain import without_spans
from worker.cli.settings import common_options, quiet_log, settings_for
from worker.cli.streams import say
from worker.cli.wrapping import WordWrap, columns_of
from worker.domain.selection import Selection
from worker.errors import AlreadyRunning, Conflict, DatabaseFailure, InputRefused, NoHost, NotFound, Problem

if TYPE_CHECKING:
    from api_schemas.submissions import Submission
    from worker.client import Client
    from worker.door.submit import Receipt
    from worker.settings import Settings
    from worker.stack.embedded import Embedded
    from worker.stack.main_job import Workplace
    from worker.storage.engine import Database

KEY = "ask-"
"""How the keys of these batches begin."""
WAIT_HOSTS = 120.0
"""Seconds for which hosts that are all away are waited for."""
POLL = 0.05
"""Seconds between two looks at what the host has written."""
NAME = 40
"""Characters of the question in the name of its batch."""
LOOKED_THROUGH = 1000
"""Newest batches among which the last conversation is looked for."""

Messages = list[dict[str, Any]]


def ask(
    question: Annotated[
        list[str], typer.Argument(metavar="QUESTION", help="The prompt; - reads standard input.")
    ],
    model: Annotated[
        str | None, option("--model -m", "Model to ask. Default: the only one there is.", metavar="MODEL")
    ] = None,
    system: Annotated[str | None, option("--system", "System prompt.", metavar="TEXT|@FILE")] = None,
    file: Annotated[
        list[Path] | None,
        option("--file -f", "Text file to put before the question; repeat for more.", metavar="FILE"),
    ] = None,
    image: Annotated[
        list[Path] | None,
        option(
            "--image", "Image to show the model (PNG, JPEG, WebP, GIF, BMP); repeat for more.", metavar="FILE"
        ),
    ] = None,
    continue_: Annotated[
        bool, option("--continue -c", "Go on with the last conversation, and its model.")
    ] = False,
    set_: Annotated[
        list[str] | None,
        option("--set", "Option of the model, e.g. temperature=0; repeat.", metavar="NAME=VALUE"),
    ] = None,
    think: Annotated[
        bool | None, option("--think/--no-think", "Let the model reason. Default: if it can.")
    ] = None,
    host: Annotated[
        list[str] | None,
        option("--host", "Ollama host; repeat for more. Default: those added.", metavar="URL|NAME"),
    ] = None,
    json_: Annotated[bool, option("--json", "Print the result as JSON.")] = False,
) -> None:
    """Ask one question and print the answer as it is written.

    It is an interactive job: it goes before all other work, wherever hosts are, and is stored like every answer. Where
    caravan up or a fleet serves, the answer is printed when it is whole.

    Example: caravan ask "Why is the sky blue?" --model llama3.2:3b
    """
    from worker.client import Client

    settings = settings_for()
    quiet_log(settings, "error")  # why nothing comes is said in words
    with Client() as client:
        before, known = _last_conversation(client.database) if continue_ else ([], None)
        text = sys.stdin.read() if question == ["-"] else " ".join(question)
        messages = [*before, _message(text, file or [], image or [])]
        if system is not None:
            from worker.documents.encodings import read_text_argument

            rules = read_text_argument(system)
            first = [{"role": "system", "content": rules}] if rules.strip() else []
            messages = [*first, *(message for message in messages if message["role"] != "system")]
        job = {"custom_id": "ask", "messages": messages}
        submission = _submission(model or known, text, set_ or [], think)
        result = _answered(settings, client, job, submission, host, prints=not json_)
    if json_:
        typer.echo(json.dumps(result, ensure_ascii=False))
    if result["state"] != "succeeded":
        error = result.get("error") or {}
        message = error.get("message") or f"the job is {result['state']}"
        say(f"caravan: {message} (caravan explain @last)")
        raise typer.Exit(3)


def _message(text: str, files: list[Path], images: list[Path]) -> dict[str, Any]:
    """The message of the user: the files, the question after them, and the images. Raises InputRefused, OSError."""
    from worker.documents.encodings import read_text
    from worker.documents.image_files import MARK, NoImage, is_image, with_image_files

    if not text.strip():
        raise InputRefused([Problem(0, "QUESTION", "missing", "the question is empty")])
    parts = []
    for path in files:
        if is_image(path.read_bytes()):
            reason = f"{path} is an image: --image {path} shows it to the model"
            raise InputRefused([Problem(0, "--file", "cannot_apply", reason)])
        parts.append(f"{path.name}:\n\n{read_text(path).rstrip()}\n")
    message: dict[str, Any] = {"role": "user", "content": "\n".join([*parts, text])}
    if not images:
        return message
    try:
        return with_image_files({**message, "images": [f"{MARK}{path}" for path in images]}, None)
    except NoImage as error:
        raise InputRefused([Problem(0, "--image", "unreadable", str(error))]) from error


def _submission(model: str | None, question: str, options: list[str], think: bool | None) -> "Submission":
    from api_schemas.submissions import Submission
    from worker.cli.submissions import options_of

    short = " ".join(question.split())
    return Submission(
        models=() if model is None else (model,),
        options=options_of(options) or None,
        think=think,
        priority="interactive",
        key=f"{KEY}{uuid.uuid4().hex[:12]}",
        name=short if len(short) <= NAME else f"{short[: NAME - 1]}…",
    )


def _last_conversation(database: "Database") -> tuple[Messages, str]:
    """The messages of the last ``ask`` that was answered, with the answer, and its model. Raises NotFound."""
    from worker.exports.columns import fields_of
    from worker.exports.results import result_lines
    from worker.storage.batches import list_batches

    with database.read() as conn:
        conversations = [
            batch.id for batch in list_batches(conn, LOOKED_THROUGH) if batch.key.startswith(KEY)
        ]
    for batch_id in conversations:
        for line in result_lines(database, Selection(batch_id), fields=fields_of(["request"], [])):
            if line["state"] == "succeeded":
                request = (
                    line["request"] if isinstance(line["request"], dict) else json.loads(line["request"])
                )
                return [*request["messages"], {"role": "assistant", "content": line["answer"]}], line["model"]
    raise NotFound("there is no conversation to continue; caravan ask begins one without --continue")


def _answered(
    settings: "Settings",
    client: "Client",
    job: dict[str, Any],
    submission: "Submission",
    places: list[str] | None,
    *,
    prints: bool,
) -> dict[str, Any]:
    """Have it answered here, or by whoever serves, and print the answer. Raises NoHost where no host can."""
    from worker.hosts.registry import models_check
    from worker.hosts.selection import select_hosts
    from worker.stack.embedded import embedded
    from worker.stack.main_job import elsewhere, workplace_of

    printer = _Printer(prints=prints, grows=prints and sys.stdout.isatty())

    def answered(place: "Workplace", models: set[str]) -> dict[str, Any]:
        whole = _with_model(submission, models)
        try:
            receipt = client.submit_jobs([job], whole, check_models=models_check(models))
        except InputRefused as error:  # there are no lines
            raise InputRefused([replace(problem, line=0) for problem in error.problems]) from error
        try:
            _wait(place, receipt, printer)
        except KeyboardInterrupt:  # nobody waits for the answer any more
            printer.end_line()
            with suppress(Conflict, DatabaseFailure):
                client.handle(receipt.batch).cancel()
            place.stop()
            raise
        return printer.finish(next(client.handle(receipt.batch).results()))

    if not settings.broker_url:
        try:
            with embedded(settings) as stack:
                place = workplace_of(stack, select_hosts(stack.database, places, None))
                return answered(place, place.models)
        except AlreadyRunning as error:
            if error.command != "up":
                raise
    return answered(elsewhere(settings, client.database), _models(client))


def _wait(place: "Workplace", receipt: "Receipt", printer: "_Printer") -> None:
    """Print what is written, and why nothing is, until the question is answered. Raises NoHost, KeyboardInterrupt."""
    from worker.policy.outlook import Outlook
    from worker.stack.main_job import work

    with (
        closing(work(place, receipt, wait_hosts=WAIT_HOSTS, poll=POLL)) as looks,
        _draft(place, receipt.batch.id) as draft,
    ):
        for look in looks:
            printer.show(draft())
            printer.show_waiting(look.reasons)
    if look.outlook is Outlook.NO_HOST:
        batch = receipt.batch.id
        raise NoHost(
            f"no host can answer: {'; '.join(look.reasons)}. The question is kept as batch {batch}: "
            f"caravan up answers it once a host is back, caravan cancel {batch} drops it"
        )


@contextmanager
def _draft(place: "Workplace", batch_id: int) -> Iterator[Callable[[], str]]:
    """Reads what the host has written so far, here or by way of the database. Raises DatabaseFailure."""
    from worker.storage.drafts import ask_for_draft, end_draft, read_draft

    if place.stack is not None:
        yield partial(_partial, place.stack)
        return

    def read() -> str:
        with place.database.read() as conn:
            return read_draft(conn, batch_id)

    place.database.transact(partial(ask_for_draft, batch_id=batch_id))
    try:
        yield read
    finally:
        with suppress(DatabaseFailure):
            place.database.transact(partial(end_draft, batch_id=batch_id))


def _partial(stack: "Embedded") -> str:
    """What the host has written so far, reasoning in ``<think>`` tags."""
    texts = (reader.partial for served in tuple(stack.served.values()) for reader in served.gpu.reading)
    return next((text for text in texts if text), "")


def _models(client: "Client") -> set[str]:
    """Models of the hosts as the database knows them: this machine may not reach the hosts of others."""
    from worker.storage.host_rows import read_hosts

    with client.database.read() as conn:
        return {name for row in read_hosts(conn, client.clock.now()) for name in row.models}


def _with_model(submission: "Submission", models: set[str]) -> "Submission":
    """The submission with the only model there is, where none is named. Raises InputRefused."""
    if submission.models:
        return submission
    names = sorted(models)
    if len(names) == 1:
        return submission.model_copy(update={"models": (names[0],)})
    have = (
        f"your hosts have {', '.join(names)}"
        if names
        else "no host has a model yet: caravan models pull MODEL"
    )
    raise InputRefused([Problem(0, "--model", "missing", f"give --model; {have}")])


class _Printer:
    """Prints the answer, on a terminal as it grows; reasoning goes to standard error, where somebody looks at it.

    A pipe gets the answer alone, whole: the beginning that a failed try wrote is no part of it.
    """

    def __init__(self, *, prints: bool, grows: bool) -> None:
        self._prints = prints
        self._grows = grows
        self._reasons = prints and not common_options().quiet and sys.stderr.isatty()
        self._thoughts = WordWrap(lambda text: sys.stderr.write(text), columns_of(sys.stderr))
        self._lines = WordWrap(lambda text: sys.stdout.write(text), columns_of(sys.stdout))
        self._reasoning = self._answer = ""
        self._waiting: list[str] = []

    def show(self, partial: str) -> None:
        """Print what came since the last time."""
        if not self._prints or not partial:
            return
        reasoning, answer = split_reasoning(partial)
        if self._reasons and reasoning.startswith(self._reasoning):
            self._thoughts.put(reasoning[len(self._reasoning) :])
            sys.stderr.flush()
            self._reasoning = reasoning
        if answer and not self._answer and self._reasoning:
            self._thoughts.end()
            sys.stderr.write("\n\n")
        if self._grows:
            self._put(answer)

    def show_waiting(self, reasons: Sequence[str]) -> None:
        """Say why nothing is written, once while the reasons last."""
        lasting = [without_spans(reason) for reason in reasons]
        if lasting and lasting != self._waiting and not common_options().quiet:
            self.end_line()
            for reason in reasons:
                say(f"waiting: {reason}")
        self._waiting = lasting

    def end_line(self) -> None:
        """What is printed next begins a line, and an answer that goes on is printed from its beginning."""
        self._thoughts.end()
        if self._answer:
            self._lines.end()
            sys.stdout.write("\n" if not self._answer.endswith("\n") else "")
            sys.stdout.flush()
        self._answer = ""

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        """Print the rest of it."""
        answer = result.get("answer") or ""
        self._thoughts.end()
        if self._prints and answer:
            self._put(answer)
            self._lines.end()
            if not answer.endswith("\n"):
                sys.stdout.write("\n")
            sys.stdout.flush()
        return result

    def _put(self, answer: str) -> None:
        if not answer.startswith(self._answer):  # another try: what came of the last one is no answer
            self.end_line()
        more = answer[len(self._answer) :]
        self._answer = (
            answer  # before it is written: Ctrl-C in between ends a line too much, and never one too few
        )
        if self._grows:
            self._lines.put(more)
        else:
            sys.stdout.write(more)
        sys.stdout.flush()


def split_reasoning(partial: str) -> tuple[str, str]:
    """Reasoning and answer of a text that is still being written.

    >>> split_reasoning("<think>Rayleigh</think>Because"), split_reasoning("<think>Ray"), split_reasoning("Be")
    (('Rayleigh', 'Because'), ('Ray', ''), ('', 'Be'))
    """
    if not partial.startswith("<think>"):
        return "", partial
    reasoning, _, answer = partial.removeprefix("<think>").partition("</think>")
    return reasoning, answer.lstrip("\n")
