"""Vectors through a whole run: many texts a call, one that is too long, as rows, files and arrays; on both databases."""

import csv
import io
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy
import pyarrow.parquet as pq
import pytest
import requests
from sqlalchemy import text

import simulator
from api_schemas.jobs import JobDefaults
from api_schemas.submissions import Submission
from tests.door import submit_file
from tests.integration.serving.test_serve import MODELS, TENTH, add, counts, serve, simulated, submit
from tests.maintenance import tidy
from worker.client.handle import BatchHandle
from worker.clock import Clock
from worker.domain.attempts import Finish, Succeeded
from worker.domain.hosts import Host
from worker.domain.jobs import JobState
from worker.domain.replies import Result
from worker.domain.selection import Selection
from worker.errors import Code
from worker.explain.explained import explain
from worker.exports.external_table import append_results
from worker.exports.files import ResultWriter
from worker.exports.results import result_lines
from worker.kinds.embed.reply import Vectors, common_values
from worker.maintenance.keeping import prune
from worker.ollama.client import Call, OllamaHost
from worker.replies.stream import Reader
from worker.replies.vectors import pack_vector, unpack_vector
from worker.serving.loop import serve_host
from worker.serving.session import ServingContext
from worker.serving.spool import Spool
from worker.storage.check import check_database
from worker.storage.engine import Database
from worker.storage.external import open_external
from worker.storage.ids import job_id
from worker.storage.snapshots import snapshot

T = TypeVar("T")
EMBEDDING = simulator.embedding_model()
LONG = "word " * 3_000


class Counted(OllamaHost):
    """A host whose calls for vectors are kept."""

    def __init__(self, host: Host) -> None:
        super().__init__(host.url, slots=host.slots)
        self.texts: list[list[str]] = []

    def ask(
        self, path: str, body: Mapping[str, Any], reader: Reader[T], call: Call | None = None, **more: Any
    ) -> T:
        if path == "/api/embed":
            self.texts.append(body["input"])
        return super().ask(path, body, reader, call, **more)


def embedding_host(**settings: Any) -> simulator.HostSettings:
    return simulated(models=(*simulator.demo_models(), EMBEDDING), **settings)


def listen(database: Database, clock: Clock, host: Host, **more: Any) -> Counted:
    gpu = Counted(host)
    try:
        serve_host(ServingContext(database, host, gpu, clock, timings=TENTH), **more)
    finally:
        gpu.close()
    return gpu


def embed(input_: str, **more: Any) -> dict[str, Any]:
    return {"kind": "embed", "model": EMBEDDING.name, "input": input_, **more}


def told_by(url: str, input_: str) -> list[float]:
    body = {"model": EMBEDDING.name, "input": input_}
    vector: list[float] = requests.post(f"{url}/api/embed", json=body, timeout=10).json()["embeddings"][0]
    return vector


@pytest.mark.parametrize(
    "texts", [300, pytest.param(20_000, marks=[pytest.mark.thorough, pytest.mark.timeout(600)])]
)
def test_many_texts_share_calls_each_has_its_vector_and_one_too_long_fails_alone(
    database: Database, clock: Clock, texts: int
) -> None:
    lines = [embed(f"text {n}", custom_id=f"t{n}") for n in range(texts)]
    lines.insert(texts // 2, embed(LONG, custom_id="long"))
    with simulator.running(embedding_host()) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, lines)
        gpu = listen(database, clock, host)
        told = {n: told_by(running.url, f"text {n}") for n in (0, texts // 2 - 1, texts - 1)}

    looked_at = {"long", *(f"t{n}" for n in told)}
    chosen = Selection(batch.id, custom_ids=frozenset(looked_at))
    found = {line["custom_id"]: line for line in result_lines(database, chosen)}
    assert counts(database, batch) == {JobState.SUCCEEDED: texts, JobState.FAILED: 1}
    assert found["long"]["error"]["code"] == Code.CONTEXT_OVERFLOW
    assert "embedding" not in found["long"]
    for n, vector in told.items():
        assert found[f"t{n}"]["embedding"] == pytest.approx(vector, abs=1e-7)
    with database.read() as conn:
        assert conn.scalar(text("SELECT count(DISTINCT embedding) FROM results")) == texts
    assert len(gpu.texts) < 40 + texts // 100
    assert all(one.broken == 0 for one in check_database(database, now=clock.now()))


def test_an_embedding_model_is_loaded_beside_prompts_and_each_kind_is_told_what_its_model_cannot_do(
    database: Database, clock: Clock
) -> None:
    lines = [
        embed("a"),
        {"model": MODELS[0], "prompt": "Say a."},
        {"model": EMBEDDING.name, "prompt": "Say b."},
        {**embed("b"), "model": MODELS[0]},
    ]
    with simulator.running(embedding_host(line="H", max_loaded_models=2)) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, lines)
        served = serve(database, clock, host)

    vector, answer, spoken, embedded = result_lines(database, Selection(batch.id))
    assert served.loads == 2
    assert (vector["answer"], vector["empty"], len(vector["embedding"])) == (None, False, 768)
    assert answer["answer"]
    assert [one["error"]["code"] for one in (spoken, embedded)] == [Code.UNSUPPORTED] * 2
    assert "does not support generate" in spoken["error"]["message"]
    assert "does not support embeddings" in embedded["error"]["message"]


@pytest.mark.parametrize(("gigabytes", "together"), [(2.9, False), (4.0, True)])
def test_an_embedding_model_stays_beside_a_speaking_one_where_the_memory_of_the_host_allows_it(
    database: Database, clock: Clock, gigabytes: float, together: bool
) -> None:
    lines = [line for n in range(3) for line in (embed(f"t{n}"), {"model": MODELS[0], "prompt": f"Say {n}."})]
    with simulator.running(embedding_host(line="H", max_loaded_models=2)) as (running,):
        host = add(database, clock, running, models_at_once=2, memory=int(gigabytes * 2**30))
        batch = submit(database, clock, lines)
        serve(database, clock, host)
        with closing(OllamaHost(running.url)) as gpu:
            loaded = {model.name: model.size for model in gpu.loaded()}

    assert counts(database, batch) == {JobState.SUCCEEDED: 6}
    assert (len(loaded) == 2) is together
    assert sum(loaded.values()) <= gigabytes * 2**30


@pytest.fixture
def batch(database: Database, clock: Clock, tmp_path: Path) -> int:
    """Two texts with vectors of four numbers, and one that failed."""
    file = tmp_path / "in.csv"
    file.write_text(f"id,text\na,A cat.\nb,A dog.\nc,{LONG}\n")
    submission = Submission.of_defaults(
        JobDefaults(model=EMBEDDING.name), prompt="{{ text }}", id_column="id", embed=True
    )
    with simulator.running(embedding_host()) as (running,):
        host = add(database, clock, running)
        submitted = submit_file(database, file, submission, clock=clock)
        serve(database, clock, host)
    return submitted.batch.id


def vectors(database: Database, batch: int) -> dict[str, list[float]]:
    with database.read() as conn:
        rows = conn.execute(text(f"SELECT custom_id, embedding FROM report_results WHERE batch = {batch}"))
        return {
            row.custom_id: unpack_vector(bytes(row.embedding)) for row in rows if row.embedding is not None
        }


def test_rows_of_a_table_become_texts_and_vectors_are_bytes_in_sql(database: Database, batch: int) -> None:
    found = vectors(database, batch)

    assert {name: len(vector) for name, vector in found.items()} == {"a": 768, "b": 768}
    with database.read() as conn:
        kinds = conn.execute(text("SELECT DISTINCT kind FROM report_results")).scalars().all()
    assert kinds == ["embed"]


def test_files_hold_vectors_as_lists_of_a_fixed_size_or_as_json(
    database: Database, batch: int, tmp_path: Path
) -> None:
    found = vectors(database, batch)
    parquet, table, lines = (tmp_path / name for name in ("out.parquet", "out.csv", "out.jsonl"))
    for path in (parquet, table, lines):
        ResultWriter(database, Selection(batch)).file(path)

    arrow = pq.read_table(parquet)
    assert str(arrow.schema.field("embedding").type) == "fixed_size_list<element: float>[768]"
    assert arrow["embedding"].to_pylist() == [found["a"], found["b"], None]
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    as_json = [json.loads(line) for line in lines.read_text().splitlines()]
    for name, row, line in zip("ab", rows[:2], as_json[:2], strict=True):
        assert json.loads(row["embedding"]) == line["embedding"] == pytest.approx(found[name], abs=1e-8)
    assert (rows[2]["embedding"], rows[2]["error_code"]) == ("", "context_overflow")


def test_vectors_are_appended_to_tables_of_other_databases(
    database: Database, batch: int, tmp_path: Path
) -> None:
    import duckdb

    found = vectors(database, batch)
    sqlite = tmp_path / "theirs.db"
    sqlite3.connect(sqlite).close()
    for url in (f"duckdb:///{tmp_path / 'theirs.duckdb'}", f"sqlite:///{sqlite}"):
        for appended in (3, 0):
            with open_external(url, "--sql-url") as theirs:
                assert append_results(database, Selection(batch_id=batch), theirs, "vectors").rows == appended

    with duckdb.connect(str(tmp_path / "theirs.duckdb"), read_only=True) as conn:
        kind, vector = conn.execute(
            "SELECT typeof(embedding), embedding FROM vectors WHERE custom_id = 'a'"
        ).fetchall()[0]
    with closing(sqlite3.connect(sqlite)) as plain:
        (packed,) = plain.execute("SELECT embedding FROM vectors WHERE custom_id = 'a'").fetchone()
    assert kind == "FLOAT[768]"
    assert list(vector) == unpack_vector(packed) == found["a"]


def test_a_snapshot_holds_vectors(database: Database, batch: int, clock: Clock, tmp_path: Path) -> None:
    import duckdb

    found = vectors(database, batch)
    snapshot(database, tmp_path / "all.sqlite", kind="sqlite", now=clock.now())
    snapshot(database, tmp_path / "all.duckdb", kind="duckdb", now=clock.now())

    with closing(sqlite3.connect(tmp_path / "all.sqlite")) as plain:
        (packed,) = plain.execute("SELECT embedding FROM report_results WHERE custom_id = 'a'").fetchone()
    with duckdb.connect(str(tmp_path / "all.duckdb"), read_only=True) as conn:
        (vector,) = conn.execute("SELECT embedding FROM report_results WHERE custom_id = 'a'").fetchall()[0]
    assert unpack_vector(packed) == vector == found["a"]


def test_vectors_are_arrays_in_python(database: Database, batch: int, clock: Clock) -> None:
    found = vectors(database, batch)
    handle = BatchHandle(batch, "key", "name", _Place(database, clock))

    names, numbers = handle.embeddings()
    frame = handle.to_dataframe()

    assert names == ["a", "b"]
    assert numbers.dtype == numpy.float32
    assert numbers.tolist() == [found["a"], found["b"]]
    assert frame["embedding"][0].tolist() == found["a"]
    assert frame["embedding"][2] is None


class _Place:
    def __init__(self, database: Database, clock: Clock) -> None:
        self.database, self.clock = database, clock

    def wake(self) -> None:
        pass


def test_a_stored_vector_is_taken_for_the_same_text_and_not_for_other_dimensions(
    database: Database, clock: Clock
) -> None:
    with simulator.running(embedding_host()) as (running,):
        host = add(database, clock, running)
        first = submit(database, clock, [embed("a", custom_id="x", reuse=True)], "first")
        listen(database, clock, host)
        again = [
            embed("a", custom_id="same", reuse=True),
            embed("a", custom_id="short", dimensions=4, reuse=True),
        ]
        second = submit(database, clock, again, "second")
        gpu = listen(database, clock, host)

    (known,) = result_lines(database, Selection(first.id))
    same, short = result_lines(database, Selection(second.id))
    assert (same["embedding"], same["reused_from"]) == (known["embedding"], known["job"])
    assert (len(short["embedding"]), short["reused_from"]) == (4, None)
    assert [texts for texts in gpu.texts if texts] == [["a"]]


def test_urgent_texts_go_first_and_explain_and_retention_know_vectors(
    database: Database, clock: Clock
) -> None:
    lines = [embed(f"text {n}", priority="bulk") for n in range(20)]
    with simulator.running(embedding_host()) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, [*lines, embed("now", custom_id="now", priority="interactive")])
        gpu = listen(database, clock, host)
    tidy(database, clock=clock)

    assert next(filter(None, gpu.texts)) == ["now"]
    whole = explain(database, str(batch.id), clock=clock)
    one = explain(database, str(job_id(batch.id, 21)), clock=clock)
    assert whole.sentences == (f"batch {batch.id} (batch) is finished: 21 succeeded",)
    assert one.sentences[1].startswith("a vector of 768 numbers from gpu-1 in ")
    prune(database, [batch.id], clock=clock)
    with database.read() as conn:
        assert conn.scalar(text("SELECT count(embedding) FROM results")) == 0
        assert conn.scalar(text("SELECT count(*) FROM payloads")) == 0


def test_vectors_come_out_of_the_spool_as_they_went_in(tmp_path: Path) -> None:
    vector = pack_vector([0.6, 0.8])
    common = common_values(Vectors([vector], 3, 10, 1), cut=False)
    result = Result(**common, prompt_tokens=3, embedding=vector)
    at = datetime(2026, 12, 1, tzinfo=UTC)
    finish = Finish(1, 1, "t", 1, "gpu-1", at, at, Succeeded(result))
    spool = Spool(tmp_path / "gpu-1.jsonl")

    spool.write([finish])

    assert Spool(spool.path).read() == [finish]
