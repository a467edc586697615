"""Report views are what the code says, and keep the rights and the views of those who read them."""

from collections.abc import Iterator, Mapping

import pytest
from sqlalchemy import text

from tests.integration.storage.conftest import Store, a_result, new_job
from worker.domain.attempts import Succeeded
from worker.errors import Conflict
from worker.storage import view_upkeep
from worker.storage.engine import Database, open_database
from worker.storage.migrate import is_current, renew_report_views, run_migrations, upgrade
from worker.storage.reader import grant_reader
from worker.storage.views import views

RUNS = "SELECT id AS run, host, runner_key, reason, started_at, load_seconds, ended_at, jobs, error FROM runs"


@pytest.fixture
def postgres(migrated_postgres_url: str) -> Iterator[Database]:
    opened = open_database(migrated_postgres_url)
    yield opened
    with opened.write() as conn:
        for role in conn.scalars(text("SELECT rolname FROM pg_roles WHERE rolname LIKE 'view\\_%'")).all():
            conn.execute(text(f"DROP OWNED BY {role}"))
            conn.execute(text(f"DROP ROLE {role}"))
    opened.close()


def change(monkeypatch: pytest.MonkeyPatch, changed: Mapping[str, str]) -> None:
    """A version of the code in which some views have other queries."""
    monkeypatch.setattr(view_upkeep, "views", lambda dialect: {**views(dialect), **changed})


def url_of(database: Database) -> str:
    return database.url.render_as_string(hide_password=False)


def run(database: Database, *statements: str) -> None:
    with database.write() as conn:
        for statement in statements:
            conn.execute(text(statement))


def scalar(database: Database, query: str) -> object:
    with database.read() as conn:
        return conn.scalar(text(query))


def test_a_view_that_differs_is_made_anew_without_a_migration(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_current(database)
    change(monkeypatch, {"report_runs": f" {RUNS} WHERE id < 0"})
    assert not is_current(database)

    upgrade(url_of(database))

    assert is_current(database)
    run(
        database,
        "INSERT INTO runs (host, runner_key, reason, started_at) VALUES ('a', 'b', 'c', '2026-11-23T00:00:00Z')",
    )
    assert scalar(database, "SELECT count(*) FROM report_runs") == 0


def test_a_view_that_is_gone_or_was_changed_by_hand_comes_back(database: Database) -> None:
    run(database, "DROP VIEW report_runs")
    assert not is_current(database)

    upgrade(url_of(database))

    assert scalar(database, "SELECT count(*) FROM report_runs") == 0
    assert is_current(database)


def test_nothing_is_made_anew_where_nothing_differs(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_upkeep, "create_views", lambda conn: pytest.fail("nothing differs"))

    upgrade(url_of(database))


def test_a_view_of_somebody_on_top_is_there_after_an_upgrade(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(
        database,
        "CREATE VIEW by_model AS SELECT model, count(*) AS n FROM report_results WHERE model LIKE '%' GROUP BY model",
        "CREATE VIEW models AS SELECT count(*) AS n FROM by_model",
    )
    change(monkeypatch, {"report_runs": f" {RUNS} WHERE id > 0"})

    upgrade(url_of(database))

    assert scalar(database, "SELECT n FROM models") == 0


def test_a_view_of_somebody_on_top_survives_the_migrations_too(database_url: str) -> None:
    database = open_database(database_url)
    with database.write() as conn:
        run_migrations(conn, "0018")
    run(
        database,
        "CREATE VIEW report_results AS SELECT job_id, model FROM results",
        "CREATE VIEW by_model AS SELECT model, count(*) AS n FROM report_results GROUP BY model",
    )

    upgrade(database_url)

    assert scalar(database, "SELECT count(*) FROM by_model") == 0
    assert is_current(database)
    database.close()


def test_a_reader_keeps_its_rights_through_an_upgrade(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres.write() as conn:
        grant_reader(conn, "view_reader", password=None)
    run(
        postgres,
        "CREATE ROLE view_analyst",
        "GRANT SELECT (batch, jobs) ON report_batches TO view_analyst",
        "REVOKE ALL ON report_runs FROM view_reader",
        "CREATE VIEW by_host WITH (security_barrier=true) AS SELECT host, count(*) AS n FROM report_runs GROUP BY host",
        "COMMENT ON VIEW by_host IS 'it''s mine, 100%'",
        "ALTER VIEW by_host OWNER TO view_analyst",
        "GRANT SELECT ON report_runs TO view_analyst WITH GRANT OPTION",
        "GRANT SELECT ON by_host TO PUBLIC",
    )
    rights = {
        "has_table_privilege('view_reader', 'report_results', 'select')": True,
        "has_table_privilege('view_reader', 'report_runs', 'select')": False,
        "has_table_privilege('view_reader', 'by_host', 'select')": True,
        "has_table_privilege('view_analyst', 'report_runs', 'select with grant option')": True,
        "has_column_privilege('view_analyst', 'report_batches', 'jobs', 'select')": True,
        "has_column_privilege('view_analyst', 'report_batches', 'state', 'select')": False,
        "(SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE relname = 'by_host')": "view_analyst",
        "(SELECT reloptions::text FROM pg_class WHERE relname = 'by_host')": "{security_barrier=true}",
        "obj_description('by_host'::regclass, 'pg_class')": "it's mine, 100%",
    }
    before = {right: scalar(postgres, f"SELECT {right}") for right in rights}
    change(monkeypatch, {"report_runs": f" {RUNS} WHERE id > 0"})

    upgrade(url_of(postgres))

    assert before == rights
    assert {right: scalar(postgres, f"SELECT {right}") for right in rights} == rights


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("CREATE MATERIALIZED VIEW daily AS SELECT day, count(*) FROM report_results GROUP BY day", "daily"),
        (
            "CREATE FUNCTION newest() RETURNS SETOF report_runs LANGUAGE sql AS 'SELECT * FROM report_runs'",
            "newest",
        ),
        ("CREATE VIEW cheap AS SELECT run, error FROM report_runs", "cheap"),
    ],
)
def test_what_cannot_be_built_again_is_named_before_anything_changes(
    postgres: Database, monkeypatch: pytest.MonkeyPatch, statement: str, name: str
) -> None:
    run(postgres, statement)
    change(monkeypatch, {"report_runs": " SELECT id AS run, host FROM runs"})

    with pytest.raises(Conflict, match=name):
        upgrade(url_of(postgres))

    assert scalar(postgres, "SELECT count(error) FROM report_runs") == 0
    run(postgres, statement.replace("CREATE", "DROP").split(" AS ")[0].split(" RETURNS ")[0])
    upgrade(url_of(postgres))
    assert is_current(postgres)


def test_what_serves_a_database_renews_its_views_at_its_start_and_goes_on_where_it_cannot(
    postgres: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    change(monkeypatch, {"report_runs": f" {RUNS} WHERE id > 0"})
    renew_report_views(postgres)
    assert is_current(postgres)

    run(postgres, "CREATE MATERIALIZED VIEW daily AS SELECT run FROM report_runs")
    change(monkeypatch, {"report_runs": f" {RUNS} WHERE id > 1"})
    renew_report_views(postgres)

    assert "database.views_outdated" in caplog.messages
    assert not is_current(postgres)


def test_json_can_be_grouped_on_postgresql_and_is_stored_as_it_was_given(migrated_postgres_url: str) -> None:
    store = Store(open_database(migrated_postgres_url))
    metadata = {"zone": "b", "a": {"sku": "\ufffd", "n": 10**30}, "longer": [1.50, None]}
    store.submit(new_job(1, metadata=metadata), new_job(2, metadata=dict(reversed(metadata.items()))))
    for job in store.claim():
        store.finish(job, Succeeded(a_result(parsed={"b": 1, "a": [True]})))

    with store.database.read() as conn:
        groups = conn.execute(
            text("SELECT metadata, parsed, count(*) FROM report_results GROUP BY metadata, parsed")
        ).all()
        keys = conn.scalars(text("SELECT metadata::text FROM payloads ORDER BY job_id")).first()

    assert [row[2] for row in groups] == [2]
    assert keys is not None and keys.index("zone") < keys.index("sku") < keys.index("longer")
    store.database.close()
