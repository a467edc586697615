"""The jobs of the benchmarks are ordinary ones, and no two are the same."""

import json
from pathlib import Path

from api_schemas.jobs import JobDefaults, ParsedLine, read_job_line
from benchmarks.answerer import MODELS
from benchmarks.workload import job_values, write_jobs


def test_every_line_is_a_job_for_a_model_that_the_hosts_have(tmp_path: Path) -> None:
    lines = write_jobs(tmp_path, "first", 20).read_bytes().splitlines()

    jobs = [
        read_job_line(line, line=number, defaults=JobDefaults()) for number, line in enumerate(lines, start=1)
    ]

    parsed = [job for job in jobs if isinstance(job, ParsedLine)]
    assert len({job.custom_id for job in parsed}) == len({job.prompt for job in parsed}) == 20
    assert {job.model for job in parsed} <= set(MODELS)
    assert all(not job.notes for job in parsed)


def test_files_of_different_names_share_no_id(tmp_path: Path) -> None:
    first, second = (write_jobs(tmp_path, name, 5).read_text().splitlines() for name in ("first", "second"))

    assert not set(first) & set(second)


def test_rows_of_a_generator_are_the_lines_of_a_file(tmp_path: Path) -> None:
    lines = write_jobs(tmp_path, "first", 3).read_text().splitlines()

    assert [json.loads(line) for line in lines] == list(job_values(3, "first"))
