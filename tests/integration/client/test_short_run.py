"""``caravan run`` of one prompt in a fresh home: what it does not import, build and read, since it has no use for it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import simulator

SPARE = {
    "api_schemas.chat",
    "api_schemas.embed",
    "alembic",
    "celery",
    "charset_normalizer",
    "jinja2",
    "jsonschema",
    "pandas",
    "platformdirs",
    "psycopg",
    "rich",
    "tomllib",
    "worker.cli.pulling",
    "worker.documents.formats",
    "worker.explain.explained",
    "worker.exports.files",
    "worker.health",
    "worker.kinds.chat",
    "worker.kinds.embed",
    "worker.notify",
    "worker.quote",
    "worker.search",
    "worker.storage.tables.schedules",
    "yaml",
}
MOST_MODULES = 300
"""Of the program's own; each costs a quarter of a millisecond."""
SCRIPT = """
import json, sys, threading
from worker.cli.main import app
start = threading.Thread.start
def start_without_services(thread):
    if thread.name.startswith("up"):  # services first run after a second, and import what they serve
        thread._target = lambda *_: None
    start(thread)
threading.Thread.start = start_without_services
try: app()
except SystemExit as end: code = end.code
from api_schemas.results import ResultLine
built = [model.__name__ for model in (ResultLine,) if model.__pydantic_complete__]
print(json.dumps({"code": code, "modules": sorted(sys.modules), "built": built}))
"""


def test_one_prompt_imports_and_builds_nothing_it_has_no_use_for(tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.jsonl"
    prompt.write_text('{"model": "llama3.2:3b", "prompt": "Say it."}')
    settings = simulator.HostSettings(name="gpu-1", models=simulator.demo_models(), time_scale=0.0)
    with simulator.running(settings) as (host,):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, "run", str(prompt), "--host", host.url],
            env={**os.environ, "CARAVAN_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            check=False,
        )

    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["code"] == 0, done.stderr
    assert SPARE & {*outcome["modules"]} == set()
    assert outcome["built"] == []
    assert sum(name.startswith("worker.") for name in outcome["modules"]) <= MOST_MODULES
