"""A command of somebody's own, with the message on its standard input."""

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress

from worker.notify.bounded import NotSent

SECONDS = 60.0


def run_command(command: str, body: bytes, *, about: Mapping[str, str]) -> None:
    """Run ``command`` in a shell, ``about`` in its environment. It has a minute; its own output is what it says when it
    fails. Raises NotSent."""
    process = subprocess.Popen(  # noqa: S602 - the command is the producer's own, as in cron
        command,
        shell=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **about},  # noqa: TID251 - what it needs is its own
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(body, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError, AttributeError):
            os.killpg(process.pid, signal.SIGKILL)  # what the shell started goes with it
        process.kill()
        process.communicate()
        raise NotSent(f"the command did not end within {SECONDS:.0f} s") from None
    except BrokenPipeError:
        output, _ = process.communicate()
    if process.returncode:
        said = " ".join(output[-2000:].decode("utf-8", "replace").split())
        raise NotSent(f"the command ended with {process.returncode}{': ' if said else ''}{said[-300:]}")
