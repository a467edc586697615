"""What does a template ask of a row? Prompts and systems written in Jinja2, checked against the columns, then rendered.

A row's columns are the template's variables; ``row["Product name"]`` reaches every column, also one whose name is no
variable's. A mistake in the template is refused before anything is read, one that only a row shows by that row's line.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from worker.domain.numbers import names_of
from worker.errors import InputRefused, Problem, in_words
from worker.records import record

if TYPE_CHECKING:
    from jinja2 import nodes

    from worker.documents.sandbox import Sandbox

RENDERED_LIMIT = 4 * 1024 * 1024
"""Bytes of UTF-8 in one rendered prompt."""

_ROW = "row"
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060"


@record
class Use:
    """One place where a template takes a column."""

    column: str
    line: int
    """Of the template."""
    optional: bool
    """It stands under ``default`` or ``is defined``, so that a table without the column will do."""
    tested: bool = False
    """A condition asks for it, so that an empty cell will do."""


@record
class Template:
    """A checked template. Rendering is not for several threads at once."""

    source: str
    """``--prompt``, or the template's file, for messages."""
    variables: frozenset[str]
    """Names it takes from the row; ``row`` is among them where it says ``row[...]``."""
    uses: tuple[Use, ...]
    _compiled: Any
    _sandbox: "Sandbox"

    @property
    def needed(self) -> frozenset[str]:
        """Columns that the template takes without a word on what is to be where a cell is empty."""
        handled = {use.column for use in self.uses if use.optional or use.tested}
        return frozenset(use.column for use in self.uses) - handled

    def missing(self, columns: Collection[str]) -> list[Problem]:
        """One problem per column the template asks for and the table does not have, with the nearest that it has."""
        optional = {use.column for use in self.uses if use.optional}
        problems: dict[str, Problem] = {}
        for use in self.uses:
            if use.column not in columns and use.column not in optional and use.column not in problems:
                message = (
                    f"{self.source} line {use.line}: no column {use.column!r}; {nearest(use.column, columns)}"
                )
                problems[use.column] = Problem(0, use.column, "missing_column", message)
        return list(problems.values())

    def render(
        self, values: Mapping[str, Any], *, line: int, blank: bool = False, vector: bool = False
    ) -> str | Problem:
        """The text for the row on ``line``, or why there is none: ``template_error``, ``too_large``, ``blank_prompt``.

        ``blank=True`` allows an empty text, as a system may be; ``vector``: it is a text whose vector is wanted.
        """
        from jinja2 import TemplateError, UndefinedError  # jinja2 is heavy, and loaded by now

        parts, size = [], 0
        self._sandbox.begin()
        try:
            for part in self._compiled.generate({**values, _ROW: dict(values)}):
                size += len(part.encode(errors="replace"))
                if size > RENDERED_LIMIT:
                    message = f"{self.source}: renders more than {RENDERED_LIMIT:,} bytes; shorten the text"
                    return Problem(line, "prompt", "too_large", message)
                parts.append(part)
        except UndefinedError as error:
            return self._failed(line, self._undefined(error, values))
        except TemplateError as error:
            return self._failed(line, error.message or in_words(error))
        except RecursionError:
            return self._failed(line, "calls itself without end")
        except Exception as error:  # an expression may raise anything
            return self._failed(line, in_words(error))
        text = "".join(parts)
        if not blank and not text.strip().strip(_INVISIBLE).strip():
            why = (
                "there is no vector of nothing"
                if vector
                else "to a host a blank prompt is an order to load the model"
            )
            message = f"{self.source}: renders blank; {why}"
            empty = [use.column for use in self.uses if is_blank(values.get(use.column))]
            message += f" (empty here: {', '.join(dict.fromkeys(empty))})" if empty else ""
            return Problem(line, "input" if vector else "prompt", "blank_prompt", message)
        return text

    def _failed(self, line: int, why: str) -> Problem:
        return Problem(line, "prompt", "template_error", f"{self.source}: {why}")

    def _undefined(self, error: Exception, values: Mapping[str, Any]) -> str:
        message = str(error)
        name = re.match(r"'(.+)' is undefined|'dict object' has no attribute '(.+)'", message)
        variable = (name[1] or name[2]) if name else None
        if variable is None or variable not in {use.column for use in self.uses}:
            return message
        return f"no column {variable!r}; {nearest(variable, values)}"


def prompt_template(text: str, *, source: str) -> Template:
    """``text`` as a template. Raises InputRefused with the line of the error where it is not a valid template."""
    from jinja2 import TemplateSyntaxError, meta  # heavy, and needed only where there is a template

    from worker.documents.sandbox import Sandbox

    sandbox = Sandbox()
    try:
        tree = sandbox.parse(text)
        _stands_alone(tree, source)
        variables = frozenset(meta.find_undeclared_variables(tree))
        uses = tuple(_uses(tree, variables))
        compiled = sandbox.compile_bounded(tree)
    except TemplateSyntaxError as error:
        message = f"{source} line {error.lineno}: {error.message}{_blanks_in_a_name(text)}"
        raise InputRefused([Problem(0, "", "template_syntax", message)]) from error
    except RecursionError as error:
        message = f"{source}: nested too deeply"
        raise InputRefused([Problem(0, "", "template_syntax", message)]) from error
    return Template(source, variables, uses, compiled, sandbox)


def _blanks_in_a_name(text: str) -> str:
    """How a column is written whose name has blanks, where the template holds one.

    >>> _blanks_in_a_name("Sell {{ Product name }}"), _blanks_in_a_name("Sell {{ title | upper }")
    ('; a name with blanks is written {{ row["Product name"] }}', '')
    """
    name = re.search(r"\{\{\s*([^\W\d]\w*(?: +\w+)+)\s*\}\}", text)
    keyword = name is not None and {"if", "is", "in", "and", "or", "not"} & {*name[1].split()}
    return "" if name is None or keyword else f"; a name with blanks is written {{{{ {written(name[1])} }}}}"


def prompt_text(text: str, *, source: str = "--prompt") -> Template:
    """A prompt's template, which must take something of the row. Raises InputRefused, saying how a column is written."""
    template = prompt_template(text, source=source)
    if not template.variables:
        single = re.search(r"\{\s*(\w+)\s*\}", text)
        name = single[1] if single else "text"
        message = (
            f"{source}: the same for every row, for it takes no column; "
            f"write one in two braces: {{{{ {name} }}}}"
        )
        raise InputRefused([Problem(0, "prompt", "no_variable", message)])
    return template


def nearest(name: str, columns: Collection[str], *, as_written: bool = True) -> str:
    """Which columns ``name`` may mean, or which there are; as a template writes them, or by their bare names."""
    folded = {column.casefold(): column for column in columns}
    near = get_close_matches(name.casefold(), folded, n=3, cutoff=0.6) or [
        key for key in folded if name.casefold() in key
    ]
    show = written if as_written else repr
    if near:
        return f"did you mean {' or '.join(show(folded[key]) for key in near[:3])}?"
    return f"there are {listed(columns, as_written=as_written)}"


def listed(columns: Collection[str], *, as_written: bool = True) -> str:
    """The first columns in a sentence."""
    return names_of([written(column) if as_written else repr(column) for column in columns], 12) or "none"


def written(column: str) -> str:
    """``column`` as a template writes it: its name, or ``row["..."]`` where that is no variable's."""
    if column.isidentifier() and column not in _NO_VARIABLES:
        return column
    escaped = column.replace("\\", "\\\\").replace('"', '\\"')
    return f'row["{escaped}"]'


_NO_VARIABLES = {
    *("row", "range", "dict", "cycler", "joiner", "namespace", "loop", "self", "caller", "varargs", "kwargs"),
    *("true", "false", "none", "True", "False", "None", "and", "or", "not", "is", "in", "if", "else"),
}


def is_blank(value: Any) -> bool:
    """Whether a cell holds nothing that a person sees."""
    return value is None or (isinstance(value, str) and not value.strip())


def _stands_alone(tree: "nodes.Template", source: str) -> None:
    from jinja2 import nodes

    for node in tree.find_all((nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport)):
        word = {"FromImport": "import"}.get(type(node).__name__, type(node).__name__.lower())
        message = f"{source} line {node.lineno}: {word}: a template stands alone and reads no other file"
        raise InputRefused([Problem(0, "", "template_syntax", message)])


def _uses(tree: "nodes.Template", variables: Collection[str]) -> Iterator[Use]:
    """Where the template takes a column: by its name, ``row["name"]`` or ``row.name``; not what it sets itself."""
    from jinja2 import nodes

    guarded = {
        id(node.node)
        for node in tree.find_all((nodes.Filter, nodes.Test))
        if node.name in {"default", "d", "defined", "undefined"} and node.node is not None
    }
    called = {id(node.node) for node in tree.find_all(nodes.Call)}
    """Of these a method is meant: ``row.items()``."""
    conditions: list[nodes.Node] = [node.test for node in tree.find_all(nodes.If)]
    conditions += [node.test for node in tree.find_all(nodes.CondExpr)]
    conditions += [node.left for node in tree.find_all(nodes.Or)]  # price or "unknown"
    in_test = {id(node) for test in conditions for node in (test, *test.find_all(nodes.Node))}
    for node in tree.find_all((nodes.Name, nodes.Getitem, nodes.Getattr)):
        optional, tested = id(node) in guarded, id(node) in in_test
        match node:
            case nodes.Name(name=name, ctx="load") if name != _ROW and name in variables:
                yield Use(name, node.lineno, optional, tested)
            case nodes.Getitem(node=nodes.Name(name="row"), arg=nodes.Const(value=str(column))) if (
                _ROW in variables
            ):
                yield Use(column, node.lineno, optional, tested)
            case nodes.Getattr(node=nodes.Name(name="row"), attr=column) if (
                _ROW in variables and id(node) not in called
            ):
                yield Use(column, node.lineno, optional, tested)
