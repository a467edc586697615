"""From lines to jobs: each validated, and what is wrong with the others kept, bounded however bad the input is."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice

from api_schemas.job_problems import LineProblem
from api_schemas.jobs import ParsedLine
from api_schemas.line_reader import LineReader
from api_schemas.submissions import Submission
from worker.domain.jobs import After, NewJob
from worker.domain.numbers import count_of
from worker.domain.runners import normalise_model
from worker.door.abilities import inability_problem
from worker.door.combine import template_problem
from worker.door.notes import Notes
from worker.door.observer import SILENT, Observer
from worker.door.places import Places
from worker.door.preview import Preview
from worker.door.problems import Problems
from worker.door.rows import InputLine
from worker.door.terms import EXPECTED_ANSWER, ModelTerms, SharedTerms, Terms
from worker.errors import Problem
from worker.kinds.registry import shapes
from worker.policy.context_window import bucket, estimate_tokens
from worker.policy.prefix import SAMPLE, Prefixes, common_start
from worker.records import record
from worker.storage.ids import MOST_JOBS
from worker.storage.models import ModelFacts

MOST_ATTEMPTS = 3
"""Of a job whose submission does not say."""


@record
class Following:
    """A job that waits for others, as its line says."""

    custom_id: str
    model: str
    line: int
    seq: int
    after: After


class Intake:
    """Reads the lines of a submission into jobs.

    Lines that are wrong go to ``observer`` where the submission skips them; without an observer they are left out without a
    word: the lines are read again. ``model_facts``: what the hosts say of the models, for the window that a job needs.
    """

    def __init__(
        self,
        submission: Submission,
        observer: Observer = SILENT,
        model_facts: Mapping[str, ModelFacts] | None = None,
    ) -> None:
        self._defaults = submission.defaults
        self._reader = LineReader(self._defaults, shapes(), override=submission.override)
        self._models = submission.models
        self._by_command = frozenset(map(normalise_model, submission.models))
        self._override = submission.override
        self._max_attempts = submission.max_attempts or MOST_ATTEMPTS
        self._skips = submission.on_bad_line == "skip"
        self._observer = observer
        self._model_facts = model_facts or {}
        self._terms = SharedTerms(submission.models, self._defaults.model, self._model_facts)
        self._each = max(1, len(submission.models))
        self._places_of_ids = Places()
        """The place of each job since ``forget_names``."""
        self._lines: dict[int, InputLine] = {}
        """The lines since then, where wrong ones are handed out."""
        self._templates: set[str] = set()
        self.following: list[Following] = []
        """The jobs that wait for others."""
        self.models: dict[str, int] = {}
        """Each model, and the first line that asks it; 0 where it was named for all of them."""
        self.problems = Problems()
        self.accepted = 0
        self.expiring = 0
        """Jobs that are not asked any more after their deadline."""
        self.rejected = 0
        self._first_rejected: Problem | None = None
        self.notes = Notes()
        self.preview = Preview()
        self._reusing = 0
        self._by_default = False
        """A row is asked of the model that was named for those that name none."""
        self._unable: set[tuple[str, str]] = set()
        """Models with what they cannot do, which is said once."""

    def remarks(self) -> tuple[str, ...]:
        """What is to be said of the input as a whole, once it was read."""
        remarks = []
        if self._defaults.reuse and self.accepted and not self._reusing:
            remarks.append(
                "--reuse (reuse) has no effect: no row has temperature 0 or a seed, so that its answers are left to chance; "
                "--reuse-any takes stored answers all the same"
            )
        if self._models and self.accepted and not self._by_default and not self._override:
            named = ", ".join(self._models)
            remarks.append(
                f"--model {named} has no effect: each row names a model of its own; --override puts it in their place"
            )
        return (*remarks, *self.notes.sentences())

    def check_whole(self) -> None:
        """Note what is wrong with the input as a whole, once all of it was read."""
        if self.problems:
            return
        if not self.accepted:
            message = "the input holds no job: expected one JSON object a line"
            if self.rejected:
                message = f"none of the {count_of(self.rejected, 'line')} is a job{self._reason()}"
            self.problems.add(Problem(0, "", "empty", message))
        elif self._defaults.expires and not self.expiring:
            message = "--expire (expires) has no effect: no job has a deadline; give --by TIME, or rows with a deadline"
            self.problems.add(Problem(0, "--expire", "cannot_apply", message))

    def _reason(self) -> str:
        """What is wrong with the first line that was left out."""
        first = self._first_rejected
        return "" if first is None else f"; line {first.line}: {first.message}"

    def read(self, lines: Iterable[bytes | str | InputLine]) -> Iterator[NewJob]:
        """The jobs, in the order of the lines; blank lines are passed over but counted."""
        each = self._each
        ahead = self._good(lines)
        first = list(islice(ahead, SAMPLE))
        prefixes = Prefixes(common_start([parsed.prompt for _, parsed, _ in first]))
        for line, parsed, terms in chain(first, ahead):
            self.preview.rows += 1
            self.preview.add_empty(line.line, line.empty)
            self.notes.add(line, parsed)
            # by its line, so that a pilot and what goes on from it are stored in the order of the input
            base = (line.line - 1) * each + 1
            request = parsed.request
            group = prefixes.group(base, parsed.prompt, request.get("system"), request.get("template"))
            self._by_default |= terms.by_default
            for seq, model in enumerate(terms.models, start=base):
                if model.name not in self.models:
                    self.models[model.name] = 0 if model.name in self._by_command else line.line
                self.accepted += 1
                self.expiring += parsed.expires
                self._reusing += terms.reuse
                if terms.after is not None:
                    job = Following(parsed.custom_id, model.name, line.line, seq, terms.after)
                    self.following.append(job)
                yield self._job(seq, line.line, model, parsed, terms, group)

    def _good(
        self, lines: Iterable[bytes | str | InputLine]
    ) -> Iterator[tuple[InputLine, ParsedLine, Terms]]:
        """The lines that are jobs."""
        most = MOST_JOBS // self._each
        for number, item in enumerate(lines, start=1):
            line = item if isinstance(item, InputLine) else InputLine(number, item)
            if line.raw is not None and not line.raw.strip():
                continue
            if line.line > most:
                message = f"a batch takes at most {most:,} lines; split the input"
                self.problems.add(Problem(line.line, "", "too_large", message))
                return
            parsed = self._parsed(line)
            if parsed is None:
                continue
            terms = self._terms.of(parsed)
            if terms.lacks:
                self._refuse_unable(line, terms)
            elif self._is_new(line, parsed, terms) and self._renders(line, parsed):
                yield line, parsed, terms

    def _refuse_unable(self, line: InputLine, terms: Terms) -> None:
        """Models cannot do what is asked of them; said once of each where the whole input is refused."""
        for model, need in terms.lacks:
            if self._skips or (model, need) not in self._unable:
                self._unable.add((model, need))
                by_option = need == "thinking" and not self._skips and bool(self._defaults.think)
                place = 0 if by_option else line.line
                self._wrong(line, [inability_problem(place, model, need, self._model_facts)])

    def _renders(self, line: InputLine, parsed: ParsedLine) -> bool:
        """Whether a prompt that is made of answers is a template; a file has few of them, many times."""
        if "combine" not in parsed.request or parsed.prompt in self._templates:
            return True
        problem = template_problem(parsed.prompt, parsed.request["combine"], line=line.line)
        if problem is None:
            self._templates.add(parsed.prompt)
            return True
        self._wrong(line, [problem])
        return False

    def _is_new(self, line: InputLine, parsed: ParsedLine, terms: Terms) -> bool:
        for seq, model in enumerate(terms.models, start=(line.line - 1) * self._each + 1):
            first = self._places_of_ids.setdefault(parsed.custom_id, model.name, seq)
            if first != seq:
                self._wrong(line, [self._duplicate(line.line, parsed.custom_id, first)])
                return False
        if self._skips:
            self._lines[line.line] = line
        return True

    def _duplicate(self, line: int, custom_id: str, first: int) -> Problem:
        stands = self._line_of(first)
        message = f"custom_id {custom_id!r} stands on line {stands} already; it must be unique per model"
        return Problem(line, "custom_id", "duplicate_custom_id", message)

    def line_of(self, job: NewJob) -> int:
        """The line that a job was made of."""
        return self._line_of(job.seq)

    def _line_of(self, seq: int) -> int:
        return (seq - 1) // self._each + 1

    def forget_names(self, last: NewJob) -> None:
        """Forget the names of the jobs up to ``last``: whoever stored them looks for their names in the database."""
        self._places_of_ids.forget(last.seq)
        stored = self.line_of(last)
        self._lines = {number: line for number, line in self._lines.items() if number > stored}

    def take_back(self, jobs: Sequence[NewJob], stored: Mapping[tuple[str, str], int]) -> None:
        """Jobs whose names stand in the batch already, at the places ``stored``: their lines are wrong."""
        places = {job.seq for job in jobs}
        self.accepted -= len(jobs)
        self.expiring -= sum(job.expires for job in jobs)
        self._reusing -= sum(job.reuse for job in jobs)
        self.following = [job for job in self.following if job.seq not in places]
        lines: dict[int, Problem] = {}
        for job in jobs:
            first = stored.get((job.custom_id, job.model))
            if first is not None:
                line = self.line_of(job)
                lines.setdefault(line, self._duplicate(line, job.custom_id, first))
        for line, problem in lines.items():
            self._wrong(self._lines.get(line) or InputLine(line, None), [problem])

    def place_of(self, custom_id: str, model: str) -> int | None:
        """The place in the batch of a job that was read; of another model where there is one only. Once all are read."""
        exact = self._places_of_ids.get(custom_id, model)
        if exact is not None:
            return exact
        stored = (self._places_of_ids.get(custom_id, other) for other in self.models)
        others = [place for place in stored if place is not None]
        return others[0] if len(others) == 1 else None

    def _parsed(self, line: InputLine) -> ParsedLine | None:
        if line.raw is None:
            if line.problem is not None:
                self._wrong(line, [line.problem])
            return None
        parsed = self._reader.read(line.raw, line.line)
        if isinstance(parsed, list):
            self._wrong(line, [_problem(problem) for problem in parsed])
            return None
        return parsed

    def _wrong(self, line: InputLine, problems: list[Problem]) -> None:
        if not self._skips:
            for problem in problems:
                self.problems.add(problem)
            return
        self.rejected += 1
        problem = replace(problems[0], message="; ".join(problem.message for problem in problems))
        self._first_rejected = self._first_rejected or problem
        self._observer.rejected(problem, line)

    def _job(
        self, seq: int, line: int, model: ModelTerms, parsed: ParsedLine, terms: Terms, group: int
    ) -> NewJob:
        # of a text that is apart; any other is part of the request
        tokens = model.tokens + (estimate_tokens(parsed.prompt) if terms.kind.shape.apart else 0)
        window = bucket(tokens + model.answer, trained=model.trained)
        runner_key = model.runner_keys.get(window) or self._terms.runner_key(terms, model, window)
        self.preview.add_prompt(line, model.name, tokens - terms.kind.overhead, model.room)
        return NewJob(
            seq,
            parsed.custom_id,
            model.name,
            runner_key,
            terms.priority,
            parsed.prompt,
            parsed.request,
            parsed.metadata,
            parsed.deadline,
            self._max_attempts,
            group,
            tokens + min(model.answer, EXPECTED_ANSWER),
            parsed.expires,
            terms.reuse,
            terms.after,
            terms.kind.name,
        )


def _problem(problem: LineProblem) -> Problem:
    return Problem(problem.line, problem.field, problem.code, problem.message)
