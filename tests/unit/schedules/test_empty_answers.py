"""Empty answers may be accepted from a schedule and from Python, as on the command line."""

from pathlib import Path

from worker.client import submission_of
from worker.schedules.spec import asking_of, spec_of


def test_a_schedule_and_python_accept_empty_answers_too() -> None:
    spec = spec_of(
        {
            "cron": "0 2 * * *",
            "documents": ["/data/*.txt"],
            "prompt": "{{ document }}",
            "models": ["m:1"],
            "allow_empty": True,
        },
        base=Path("/data"),
    )

    assert asking_of(spec).defaults.allow_empty is True
    assert submission_of(model="m:1", allow_empty=True).defaults.allow_empty is True
    assert submission_of(model="m:1").defaults.allow_empty is None
