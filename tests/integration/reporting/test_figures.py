"""``caravan report``, read from what was counted, on both databases."""

import json
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from tests.clocks import FakeClock
from tests.integration.storage.conftest import Store, a_result, new_job
from worker.cli.main import app
from worker.cli.report import remarks, table
from worker.cli.report_page import page
from worker.domain.attempts import Failed, Succeeded
from worker.domain.hosts import Host
from worker.errors import Code, NotFound
from worker.exports.output.reports import report_output
from worker.reports.report import By, Report, make_report
from worker.schedules.spec import spec_of
from worker.storage.engine import Database, open_database
from worker.storage.figures import powers, set_power
from worker.storage.hosts import add_host
from worker.storage.rollups import add_load
from worker.storage.runs import loaded_run, open_run
from worker.storage.schedules import add_schedule

TWO = datetime(2026, 11, 23, 2, tzinfo=UTC)


@pytest.fixture
def store(database: Database) -> Store:
    store = Store(database, now=TWO + timedelta(minutes=10))
    with database.write() as conn:
        add_host(conn, Host("gpu-1", "http://gpu-1:11434", 2), now=TWO)
        run = open_run(conn, host="gpu-1", runner_key="qwen3:8b", reason="work", now=TWO)
        loaded_run(conn, run, load_time=timedelta(seconds=20))
        add_load(conn, "gpu-1", seconds=20, now=TWO + timedelta(seconds=20))
    store.submit(new_job(1), new_job(2), new_job(3), new_job(4), key="<night>")
    one, two, three = store.claim(limit=3)
    for job in (one, two):
        store.finish(
            job, Succeeded(a_result(prompt_eval_seconds=10.0, eval_seconds=30.0, output_tokens=1200))
        )
    store.finish(three, Failed(Code.INVALID_REQUEST, "no"))
    return store


def made(store: Store, *references: str, by: By = By.MODEL, **more: object) -> Report:
    return make_report(store.database, references, by=by, clock=FakeClock(TWO + timedelta(days=1)), **more)  # type: ignore[arg-type]


def test_a_running_batch_is_told_as_far_as_it_has_come(store: Store) -> None:
    [line] = made(store, "1").figures.lines

    assert (line.key, line.results, line.succeeded, line.failed) == ("qwen3:8b", 3, 2, 1)
    assert (line.output_tokens, line.eval_seconds, line.tokens_per_second) == (2400, 60.0, 40.0)
    assert (line.busy_seconds, line.loading_seconds, line.loads) == (40.0, 20.0, 1)
    assert line.load_share == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("references", "since", "until", "count"),
    [
        ((), None, None, 1),
        (("1",), None, None, 1),
        (("1",), TWO, TWO + timedelta(hours=1), 1),
        ((), TWO + timedelta(hours=1), None, 0),
        ((), None, TWO, 0),
    ],
)
def test_failures_and_lengths_are_those_of_the_batches_and_the_hours(
    store: Store, references: tuple[str, ...], since: datetime | None, until: datetime | None, count: int
) -> None:
    report = made(store, *references, since=since, until=until, details=True)

    assert report.failures == ({"invalid_request": 1} if count else {})
    assert report.lengths["output"] == ({2048: 2} if count else {})
    assert sum(report.lengths["prompt"].values()) == 2 * count


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        (By.BATCH, ["1 b"]),
        (By.MODEL, ["qwen3:8b"]),
        (By.HOST, ["gpu-1"]),
        (By.DAY, ["2026-11-23"]),
        (By.HOUR, ["2026-11-23 02:00"]),
    ],
)
def test_each_way_to_tell_it_comes_to_the_same(store: Store, by: By, keys: list[str]) -> None:
    found = made(store, by=by).figures

    assert [line.key for line in found.lines] == keys
    assert (found.total.results, found.total.busy_seconds, found.total.loading_seconds) == (3, 40.0, 20.0)


def test_hours_outside_the_span_do_not_count(store: Store) -> None:
    after = made(store, since=TWO + timedelta(hours=1))
    before = made(store, until=TWO)
    inside = made(store, since=TWO + timedelta(minutes=30), until=TWO + timedelta(hours=1))

    assert (after.figures.lines, before.figures.lines) == ([], [])
    assert inside.figures.total.results == 3


def test_the_hours_of_batches_come_to_the_hours_of_hosts(store: Store) -> None:
    store.later(3300)  # a long answer that lies in two hours
    [job] = store.claim(token="t2")
    store.finish(job, Succeeded(a_result(prompt_eval_seconds=0.0, eval_seconds=1200.0, output_tokens=5)))

    by_hour = {line.key: line.busy_seconds for line in made(store, by=By.HOUR).figures.lines}

    with store.database.read() as conn:
        rows = conn.execute(text("SELECT hour, busy_seconds FROM report_hosts_hourly ORDER BY hour")).all()
    assert list(by_hour.values()) == pytest.approx([busy for _, busy in rows])
    assert len(by_hour) == 2


def test_watts_are_kept_when_a_host_is_told_anew_and_forgotten_when_asked(store: Store) -> None:
    with store.database.write() as conn:
        set_power(conn, "gpu-1", watts=350, idle_watts=60)
        add_host(conn, Host("gpu-1", "http://other:11434", 4), now=TWO)
        assert powers(conn)["gpu-1"].idle_watts == 60
        set_power(conn, "gpu-1", idle_watts=0)
        assert (powers(conn)["gpu-1"].watts, powers(conn)["gpu-1"].idle_watts) == (350, None)
        set_power(conn, "gpu-1", watts=0)
        assert powers(conn) == {}
        with pytest.raises(NotFound):
            set_power(conn, "gpu-9", watts=1)


def test_a_batch_that_is_not_there_is_said(store: Store) -> None:
    with pytest.raises(NotFound):
        made(store, "99")


class _Read(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_stands_alone_and_shows_each_picture(store: Store) -> None:
    report = made(store, details=True)

    written = page(report, price=0.3)

    read = _Read()
    read.feed(written)
    assert read.tags.count("section") == 8
    assert not read.links
    assert "script" not in read.tags
    assert "prefers-color-scheme: dark" in written
    assert {"invalid_request", "qwen3:8b", "gpu-1", "≤ 2,048"} <= set(read.texts)


def test_a_report_lists_batches_with_their_flaws_and_schedules_with_their_last_firing(
    store: Store, tmp_path: Path
) -> None:
    spec = spec_of(
        {
            "cron": "0 2 * * *",
            "documents": ["*.txt"],
            "prompt": "{{ document.text }}",
            "models": ["qwen3:8b"],
        },
        base=tmp_path,
    )
    with store.database.write() as conn:
        add_schedule(conn, "nightly", spec, next_at=TWO + timedelta(days=1), now=TWO)

    every, chosen = made(store, details=True), made(store, "1", details=True)
    written, of_one = page(every), page(chosen)

    assert "schedule nightly: not fired yet; next 2026-11-24 02:00 UTC" in remarks(every, None)
    assert not chosen.schedule_lines
    [line] = report_output(every, None).batch_lines
    assert (line["batch"], line["jobs"], line["succeeded"], line["failed"], line["cut"]) == (1, 4, 2, 1, 0)
    assert [one["schedule"] for one in report_output(every, None).schedules] == ["nightly"]
    read = _Read()
    read.feed(written)
    assert {"Newest batches", "Schedules", "nightly", "2026-11-24 02:00"} <= set(read.texts)
    assert "Schedules" not in of_one


def test_every_figure_of_a_narrow_page_has_its_name_beside_it(store: Store) -> None:
    written = page(made(store, details=True))

    cells = re.findall(r"<td([^>]*)>", written)
    assert len(cells) > 30
    assert all(re.fullmatch(r' data-name="[^"]+"', about) for about in cells)
    assert "max-width: 48rem" in written


def test_names_on_the_page_are_text(store: Store) -> None:
    with store.database.write() as conn:
        conn.execute(text("UPDATE batches SET name = '<script>x</script>'"))

    assert "<script>" not in page(made(store, "1", by=By.BATCH, details=True))


def test_the_table_fits_a_terminal_of_80_and_of_120_columns(store: Store) -> None:
    report = made(store)

    narrow, wide = table(report, width=80), table(report, width=120)

    assert max(map(len, narrow)) <= 80
    assert "prompt tok" in wide[0]
    assert "prompt tok" not in narrow[0]


def test_the_command_prints_a_table_json_and_writes_a_page(
    migrated_sqlite_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    database = open_database(migrated_sqlite_url)
    store = Store(database, now=TWO)
    with database.write() as conn:
        add_host(conn, Host("gpu-1", "http://gpu-1:11434"), now=TWO)
        set_power(conn, "gpu-1", watts=360)
    monkeypatch.setenv("CARAVAN_DATABASE_URL", migrated_sqlite_url)
    nothing = CliRunner().invoke(app, ["report"])
    store.submit(new_job(1))
    store.finish(store.claim()[0], Succeeded(a_result(prompt_eval_seconds=0.0, eval_seconds=100.0)))

    shown = CliRunner().invoke(app, ["report", "--group-by", "day", "--price-per-kwh", "0.5"])
    told = CliRunner().invoke(app, ["report", "@last", "--json", "--html", str(tmp_path / "r.html")])
    wrong = CliRunner().invoke(app, ["report", "--since", "yesterday"])

    assert nothing.stdout == "nothing has been answered yet\n"
    assert "2026-11-23" in shown.stdout
    assert "energy: 0.010 kWh at 0.5 = 0.01" in shown.stdout
    assert json.loads(told.stdout)["total"]["kwh"] == pytest.approx(0.01)
    assert (tmp_path / "r.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert wrong.exit_code == 2
    database.close()
