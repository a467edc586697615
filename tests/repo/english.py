"""The rules of plain English that a machine can check, over pages, help texts, docstrings, messages and names.

A rule is added when a reviewer has to say something for the second time. What a rule cannot know stays with the reviewer.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.repo.docs.pages import ROOT

PACKAGES = ("worker", "api_schemas", "simulator", "caravan")

PHRASES = {
    r"(?<!here )\b(?:is|are) none\b(?! of)": "say what is wrong: is not a valid …, there is no …",
    r"'[^' ]+' is no \w+": "is not a valid …, and what would be",
    r"\banew\b": "again, or new",
    r"\bbefall\w*|\bbefell\b": "happen to",
    r"\bsuffic(?:e|es|ed)\b": "be enough",
    r"\b(?:hears?|tells?) of\b": "name who sends what to whom",
    r"\b(?:is|are|was|were) told\b": "say who sends what to whom",
    r"\bwhat (?:came|comes|has come|became) of\b": "the outcome, the result",
    r"\bin vain\b": "without effect",
    r"\bfor want of\b": "because … is missing",
    r"\btime and again\b": "repeatedly",
    r"\bover and done\b": "finished",
    r"\bbe they\b": "whether they are",
    r"(?:^|[.:;] )Else\b": "Otherwise",
    r"\b[Nn]or do(?:es)?\b": "two sentences",
    r"\bwhat is there\b": "name it",
    r"\bs?he who\b|\bwho(?:ever)? wants\b": "name the reader: you, the operator",
    r"\bof that chance\b|\b[Aa]gain is as once\b|\b[Tt]wice is once\b": "idempotent, random seed",
    r"\b(?:learnt|whilst|thereof|thereby|whereof|wherein|hitherto|forthwith|henceforth)\b": "a common word",
}
"""Patterns that need to be read twice → what to write instead."""

_ANY = re.compile("|".join(PHRASES), re.MULTILINE)

NO_NAMES = frozenset(
    {"told", "asked", "found", "said", "given", "seen", "wanted", "known", "taken", "kept", "shown"}
    | {"sent", "made", "left", "one", "others"}
)
"""No words in the names of functions, parameters, attributes, classes or modules; short-lived locals may stay."""
NAMES = frozenset(
    {
        "NotFound",
        "one_line",  # the number is meant
        "connection_made",  # asyncio's
        "sent",  # counted by a service, beside what failed
        "left",  # of an operator and its right side, as Jinja calls it
        # columns, and names within stored reports
        "kept",
        "known",
        "left_out",
        "seen_at",
        "last_seen_at",
        "asked_batch",
        "asked_job",
        "given_up",
        "taken",
        "failed_known",
        "answers_of_others",
    }
)
"""Names with such a word that stay."""

PASSIVES = re.compile(
    r"\b(?:is|are|was|were|been|being|be) (?:not |never |only |also )?\w+(?:ed|en|wn|lt|ld|de)\b"
)
MOST_PASSIVES = 3
"""In one sentence."""

HEADINGS = re.compile(
    r"^#+ (?:Being|Seeing|Finding|Acting|Running|Trying|Hearing|Told|Asked|Given|Found|Taken|Made|Kept|Said)\b"
)
RIDDLES = frozenset(
    {"Of", "When", "Where", "Which", "What", "Who", "Whose", "That", "Those", "It", "How", "Whether", "There"}
)
"""No help text of an option begins with these: it begins with a noun or an imperative."""

BUGS = frozenset({"AssertionError", "NotImplementedError"})
"""Raised for a defect of ours; no caller is prepared for it."""

Finding = tuple[int, str, str]
"""Line, text, and what to write instead."""


def in_text(text: str) -> Iterator[Finding]:
    """The phrases in a text, each with its line."""
    if not _ANY.search(text):
        return
    for number, line in enumerate(text.splitlines(), start=1):
        for pattern, instead in PHRASES.items():
            for match in re.finditer(pattern, line):
                yield number, match.group(), instead


def in_page(text: str) -> Iterator[Finding]:
    """The findings on a Markdown page, outside of its blocks of code and of the tables that the code writes."""
    text = re.sub(r"<!-- table: .*?<!-- end of table -->", _blank, text, flags=re.DOTALL)
    prose = re.sub(r"^```.*?^```$", _blank, text, flags=re.MULTILINE | re.DOTALL)
    yield from in_text(re.sub(r"`[^`\n]*`", "`code`", prose))
    for number, line in enumerate(prose.splitlines(), start=1):
        if HEADINGS.match(line):
            yield number, line, "a noun, or an imperative"
        if not line.startswith(("|", "#")) and (sentence := _piled(line)):
            yield number, sentence, f"at most {MOST_PASSIVES} passives in a sentence: say who does it"


def _blank(match: re.Match[str]) -> str:
    return "\n" * match.group().count("\n")


def _piled(text: str) -> str | None:
    sentences = re.split(r"(?<=[.;:]) ", text)
    return next((each for each in sentences if len(PASSIVES.findall(each)) > MOST_PASSIVES), None)


def in_code(source: str, module: str = "") -> Iterator[Finding]:
    """The findings in a module, by line: its strings, docstrings and names."""
    findings = [(1, module, "a noun for the module")] if _is_participle(module) else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            findings += [
                (node.lineno + line - 1, text, instead) for line, text, instead in in_text(node.value)
            ]
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = (ast.get_docstring(node) or "").partition("\n")[0]
            if first.endswith("?"):
                findings.append((node.body[0].lineno, first, "say what it is, or what it does"))
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            findings += [(node.lineno, node.name, f"say that it raises {name}") for name in _unsaid(node)]
        findings += [
            (line, name, "a noun or a verb as name") for line, name in _names(node) if _is_participle(name)
        ]
    yield from sorted(findings, key=lambda finding: finding[0])


def _is_participle(name: str) -> bool:
    if name.startswith("_"):
        return name.strip("_").lower() in NO_NAMES
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}
    return bool(words & NO_NAMES) and name not in NAMES


def _names(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Names that readers of other code meet."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.lineno, node.name
    if isinstance(node, ast.FunctionDef):
        spec = node.args
        for argument in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg):
            if argument is not None:
                yield argument.lineno, argument.arg
    if isinstance(node, ast.ClassDef):
        for field in node.body:
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                yield field.lineno, field.target.id


def _unsaid(function: ast.FunctionDef) -> set[str]:
    """The exceptions that a function raises by name and does not catch, and that its docstring does not name."""
    text = ast.get_docstring(function)
    if text is None or text.rpartition("\n")[2].startswith("Example: caravan "):  # the help of a command
        return set()
    nodes = list(_own(function))
    raised = {
        node.exc.func for node in nodes if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
    }
    names = {name.id for name in raised if isinstance(name, ast.Name) and name.id[0].isupper()}
    caught = [node.type for node in nodes if isinstance(node, ast.ExceptHandler) and node.type is not None]
    names -= {part.id for kind in caught for part in ast.walk(kind) if isinstance(part, ast.Name)}
    return {name for name in names if not re.search(rf"\b{name}\b", text)} - BUGS


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """What is within a node, without the functions and classes in it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            yield child
            yield from _own(child)


def help_problem(text: str) -> str | None:
    """What is wrong with the help text of an argument or an option, or None."""
    first = text.partition(" ")[0].strip(",")
    if not text.endswith("."):
        return "ends with a full stop"
    if first in RIDDLES:
        return "begins with a noun or an imperative"
    return next((f"{found}: {instead}" for _, found, instead in in_text(text)), None)


def modules() -> Iterator[Path]:
    """Every module of the program, from the root of the repository."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT)


def findings() -> dict[str, list[Finding]]:
    """The findings of every module that has some."""
    every = {
        str(path): list(in_code((ROOT / path).read_text(encoding="utf-8"), path.stem)) for path in modules()
    }
    return {path: found for path, found in every.items() if found}
