"""``caravan run --embed``, as people type it: texts of a table in, vectors in a file."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import simulator
from tests.acceptance.conftest import caravan
from tests.repo.docs.pages import DOCS, blocks

Environment = dict[str, str]
EMBEDDING = simulator.embedding_model()


def test_texts_of_a_table_become_vectors_and_one_that_is_too_long_is_named(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import duckdb

    rows = tmp_path / "texts.csv"
    long = "word " * 3_000
    rows.write_text(
        "sku,text\n" + "".join(f"s{n},A red cup number {n}.\n" for n in range(400)) + f"long,{long}\n"
    )
    vectors = tmp_path / "vectors.parquet"
    host = simulator.HostSettings("gpu-1", (EMBEDDING,), num_parallel=2, time_scale=0.001)
    with simulator.running(host) as (running,):
        asked = ["--embed", "--prompt", "{{ text }}", "--id", "sku", "--model", EMBEDDING.name]
        done = caravan(
            "run", str(rows), *asked, "--host", running.url, "-o", str(vectors), env=environment, check=False
        )
        calls = running.state()["embed_calls"]
    table = pq.read_table(vectors)

    assert done.returncode == 3, done.stderr
    assert str(table.schema.field("embedding").type) == "fixed_size_list<element: float>[768]"
    found = dict(zip(table["custom_id"].to_pylist(), table["embedding"].to_pylist(), strict=True))
    assert found.pop("long") is None
    assert len({tuple(vector) for vector in found.values()}) == 400
    assert calls < 40
    (query,) = blocks(DOCS / "howto/embeddings.md", "duckdb")
    monkeypatch.chdir(tmp_path)
    with duckdb.connect() as conn:
        nearest = conn.execute(query.text.replace("'d1'", "'s1'")).fetchall()
    assert nearest[0] == ("s1", pytest.approx(1.0))
    assert len(nearest) == 10
    assert "wrong" not in caravan("db", "check", env=environment).stdout
