"""The table of commands says what the commands themselves say, and naming them imports none."""

import os
import subprocess
import sys
from importlib import import_module

import pytest
import typer

from worker.cli.commands import COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_the_first_line_of_its_docstring_as_help(name: str) -> None:
    entry = COMMANDS[name]
    found = getattr(import_module(entry.module), entry.attribute)

    if isinstance(found, typer.Typer):
        assert entry.help == found.info.help
    else:
        assert entry.help == (found.__doc__ or "").strip().splitlines()[0]
        assert "Example: " in (found.__doc__ or "")


def test_help_and_completion_import_no_command() -> None:
    script = (
        "import sys; from worker.cli.main import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "print(sorted({'sqlalchemy', 'rich', 'requests', 'celery'} & set(sys.modules)), file=sys.stderr)"
    )
    complete = {"_CARAVAN_COMPLETE": "complete_bash", "COMP_WORDS": "caravan re", "COMP_CWORD": "1"}

    for arguments, environment in ((["--help"], {}), ([], complete)):
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.argv = ['caravan', *{arguments!r}]\n{script}"],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr.strip().splitlines()[-1] == "[]"
        assert "results" in done.stdout
