"""The files of ``examples/reporting``: each of their queries runs on the views and finds something."""

import json
import re
import runpy
import sqlite3
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped, unused-ignore]
from sqlalchemy import text, update

from tests.integration.reporting.filling import fill_nights
from tests.integration.reporting.test_reporting_tools import filled
from tests.integration.storage.conftest import NOW, Store, a_result, new_job
from tests.repo.docs.pages import ROOT
from worker.domain.attempts import Succeeded
from worker.maintenance.number import number_all
from worker.storage.snapshots import snapshot
from worker.storage.tables import batches

FOLDER = ROOT / "examples" / "reporting"
DASHBOARD = json.loads((FOLDER / "grafana.json").read_text(encoding="utf-8"))
DATASETTE = yaml.safe_load((FOLDER / "metadata.yaml").read_text(encoding="utf-8"))["databases"]["caravan"]
METABASE = sorted((FOLDER / "metabase").glob("*.sql"))
IMPORT = runpy.run_path(str(FOLDER / "metabase" / "import.py"))


def with_answers(url: str) -> Store:
    """A failed job, plain answers, one that was cut, and one of another model to the same question."""
    store = filled(url)
    store.submit(
        new_job(1, custom_id="c1", model="llama3:8b", runner_key="llama3:8b"),
        new_job(2, custom_id="c9", runner_key="llama3:8b"),
    )
    for job in store.claim(runner_key="llama3:8b", token="t9"):
        store.finish(job, Succeeded(a_result(cut=job.custom_id == "c9")))
    store.submit(new_job(1, custom_id="c1", model="llama3:8b", runner_key="llama3:8b"))
    for job in store.claim(runner_key="llama3:8b", token="t8"):
        store.finish(job)
    number_all(store.database)
    with store.database.write() as conn:
        conn.execute(
            update(batches).where(batches.c.id == store.batches[2]).values(parent_id=store.batches[0])
        )
    fill_nights(store.database, now=NOW)
    return store


@pytest.fixture
def store(migrated_url: str) -> Iterator[Store]:
    found = with_answers(migrated_url)
    yield found
    found.database.close()


@pytest.fixture
def on_postgres(migrated_postgres_url: str) -> Iterator[Store]:
    found = with_answers(migrated_postgres_url)
    yield found
    found.database.close()


def batch_of(question: str) -> int:
    """Which of the batches has something to find: the second has a cut answer, the third asks the first again."""
    return 1 if "look_at" in question else 2 if "compare" in question else 0


def in_grafana(query: str) -> str:
    """What Grafana's PostgreSQL data source makes of its macros and variables, with every value chosen."""
    since, until = "'2026-11-22T00:00:00Z'", "'2026-11-25T00:00:00Z'"
    for macro, shown in (
        (r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN {since} AND {until}"),
        (r"\$__timeFrom\(\)", since),
        (r"\$__timeTo\(\)", until),
        (r"\$\{batch:csv\}", "1,2"),
        (r"\$\{model:sqlstring\}", "'qwen3:8b','llama3:8b'"),
    ):
        query = re.sub(macro, shown, query)
    assert "$" not in query
    return query


def test_every_panel_of_the_dashboard_finds_something(on_postgres: Store) -> None:
    panels = [(panel["title"], target) for panel in DASHBOARD["panels"] for target in panel["targets"]]
    variables = [one["query"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]

    with on_postgres.database.read() as conn:
        for title, target in panels:
            found = conn.exec_driver_sql(in_grafana(target["rawSql"]))
            names = list(found.keys())
            assert found.fetchall(), title
            assert target["format"] == "table" or "time" in names, title
        for query in variables:
            assert conn.execute(text(query)).all(), query

    assert len(panels) >= 8
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.parametrize("file", METABASE, ids=lambda file: file.stem)
def test_every_question_of_metabase_finds_something(store: Store, file: Path) -> None:
    asked = IMPORT["question"](file.read_text(encoding="utf-8"))
    native = asked["dataset_query"]["native"]
    tags = native["template-tags"]
    batch = store.batches[batch_of(file.stem)]

    query = re.sub(r"\{\{(\w+)\}\}", r":\1", native["query"])
    with store.database.read() as conn:
        rows = conn.execute(text(query), {"batch": batch} if tags else {}).all()

    assert rows
    assert set(re.findall(r"\{\{(\w+)\}\}", native["query"])) == set(tags)


def test_every_canned_query_of_datasette_finds_something_in_a_snapshot(
    migrated_sqlite_url: str, tmp_path: Path
) -> None:
    store = with_answers(migrated_sqlite_url)
    snapshot(store.database, tmp_path / "snapshot.db", kind="sqlite", now=NOW)
    store.database.close()

    file = sqlite3.connect(tmp_path / "snapshot.db")
    try:
        for name, asked in DATASETTE["queries"].items():
            given = {"batch": store.batches[batch_of(name)]}
            assert file.execute(asked["sql"], given).fetchall(), name
        for table, said in DATASETTE["tables"].items():
            columns = {row[1] for row in file.execute(f"PRAGMA table_info('{table}')")}
            assert {*said.get("facets", ()), *said.get("columns", ())} <= columns
    finally:
        file.close()


class _Metabase(BaseHTTPRequestHandler):
    """As much of Metabase's API as the import uses."""

    cards: dict[int, dict[str, Any]]
    collections: list[dict[str, Any]]

    def do_GET(self) -> None:
        assert self.headers["x-api-key"] == "mb_key"
        if self.path == "/api/database":
            self._answer({"data": [{"id": 3, "name": "caravan"}]})
        elif self.path == "/api/collection":
            self._answer([{"id": "root", "name": "Our analytics"}, *self.collections])
        else:
            assert self.path == "/api/collection/7/items?models=card"
            self._answer({"data": [{"id": id_, "name": card["name"]} for id_, card in self.cards.items()]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/collection":
            self.collections.append({"id": 7, **body})
            self._answer({"id": 7})
        else:
            self.cards[len(self.cards) + 1] = body
            self._answer({})

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.cards[int(self.path.rsplit("/", 1)[1])] = body
        self._answer({})

    def _answer(self, value: Any) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())

    def log_message(self, *_: Any) -> None:
        pass


def test_questions_are_imported_once_and_changed_the_second_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = type("Handler", (_Metabase,), {"cards": {}, "collections": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("METABASE_URL", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("METABASE_API_KEY", "mb_key")
    try:
        IMPORT["main"]("caravan")
        IMPORT["main"]("caravan")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    cards = handler.cards.values()  # type: ignore[attr-defined]
    assert len(cards) == len(METABASE)
    assert {(card["collection_id"], card["dataset_query"]["database"]) for card in cards} == {(7, 3)}
    assert "Batches" in capsys.readouterr().out
