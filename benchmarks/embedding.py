"""What does a worker spend on a vector? CPU of serving many texts a call, beside two ways to ask them one by one, in one run.

``python -m benchmarks.embedding`` takes about a minute: a simulated host in a process of its own gives vectors of 384 numbers at
once, and the process that serves it counts its own CPU from the first claim to the last vector stored. ``--database`` chooses
SQLite, which is the default, or PostgreSQL.

One text a call, in groups: texts are claimed and stored some dozens at a time, as all jobs are whose calls take
milliseconds. One text a call, alone: each is claimed, asked and stored by itself, as a prompt is whose answer takes a host
with one slot half a second or longer.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import simulator
from api_schemas.jobs import JobDefaults
from benchmarks.places import fresh_place, open_servers
from simulator.fleet import serve
from tests.door import submit_lines
from tests.servers.children import free_port
from worker.cli.lean import rare_collections
from worker.domain.hosts import Host
from worker.domain.timings import Timings
from worker.hosts.registry import register
from worker.kinds.registry import kind_of
from worker.ollama.client import OllamaHost
from worker.policy import serving
from worker.serving.loop import serve_host
from worker.serving.session import ServingContext
from worker.storage.engine import open_database
from worker.storage.migrate import upgrade

IN_GROUPS, ALONE = "in groups", "alone"
LIMITS = {IN_GROUPS: 0.2, ALONE: 0.03}
"""CPU of a text among many, as a part of that of one. ``benchmarks.embedding_floor`` shows how much no worker can save."""
MODEL = replace(simulator.embedding_model("minilm-embed"), embedding_length=384)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument(
        "--alone", type=int, default=2_000, help="texts that are asked one a call, a quarter of them alone"
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--check", action="store_true", help="exit 1 where a limit is missed")
    parser.add_argument("--host", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.host:
        serve([simulator.HostSettings("gpu-1", (MODEL,), port=options.host, time_scale=0)])
        return 0
    rare_collections()  # as each process of Caravan
    port = free_port()
    host = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.embedding", "--host", str(port)], stdout=subprocess.PIPE
    )
    try:
        assert host.stdout is not None
        host.stdout.readline()
        with (
            tempfile.TemporaryDirectory(prefix="caravan-embedding-") as scratch,
            open_servers(postgres=options.database == "postgresql") as servers,
        ):
            fresh = partial(fresh_place, options.database, servers, Path(scratch))
            with fresh() as place:
                together = measure(place.url, port, options.texts)
            with patch.object(type(kind_of("embed")), "jobs_a_call", 1):
                with fresh() as place:
                    grouped = measure(place.url, port, options.alone)
                # no call is short enough for jobs to be claimed ahead of it, or stored together
                with patch.multiple(serving, AHEAD_BELOW=0.0, SHORT_CALL=0.0), fresh() as place:
                    alone = measure(place.url, port, options.alone // 4)
    finally:
        host.terminate()
        host.wait()
    print(f"{options.texts:,} texts, many a call: {together * 1e3:.3f} ms of CPU a text")
    missed = False
    for way, spent in ((IN_GROUPS, grouped), (ALONE, alone)):
        ratio, limit = together / spent, LIMITS[way]
        print(f"one a call, {way}: {spent * 1e3:.3f} ms a text, ratio {ratio:.3f}, at most {limit}")
        missed |= ratio > limit
    return 1 if options.check and missed else 0


def measure(url: str, port: int, texts: int) -> float:
    """Seconds of CPU for each text."""
    upgrade(url)
    database = open_database(url)
    try:
        clock = database.clock()
        host = Host("gpu-1", f"http://127.0.0.1:{port}", 1)
        register(database, host, open_host=lambda h: OllamaHost(h.url, slots=h.slots), clock=clock)
        lines = (
            json.dumps({"kind": "embed", "model": MODEL.name, "input": f"Cup number {n}, red."})
            for n in range(texts)
        )
        submit_lines(database, lines, key="texts", name="texts", defaults=JobDefaults(), clock=clock)
        gpu = OllamaHost(host.url, slots=host.slots)
        began = time.process_time()
        served = serve_host(ServingContext(database, host, gpu, clock, timings=Timings(linger=0.2)))
        spent = time.process_time() - began
        gpu.close()
        if served.jobs != texts:
            raise SystemExit(f"{served.jobs:,} of {texts:,} texts were asked")
        return spent / texts
    finally:
        database.close()


if __name__ == "__main__":
    sys.exit(main())
