import json
import os
import sqlite3
import threading
import urllib.error
import urllib.request
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.integration.storage.conftest import new_job
from tests.servers.children import free_port
from tests.servers.pinged import Pinged, pinged_here
from tests.servers.smtp import Mailbox, mail_server_here
from tests.waiting import wait_until
from worker.domain.health import Finding, HealthLimits, Kind, Telling
from worker.domain.hosts import Host
from worker.errors import SettingsRefused
from worker.health.facts import Place, gather
from worker.health.watch import Teller, Verdict, Watch, chosen, look
from worker.maintenance.heart import lock_of
from worker.storage.batches import create_batch, promote_sealed, seal_batch
from worker.storage.engine import Database, open_database
from worker.storage.hosts import add_host, quarantine_host, record_unreachable
from worker.storage.jobs import insert_jobs
from worker.storage.pulses import PROBE, read_pulses, record_pulse


@pytest.fixture
def place(migrated_url: str, tmp_path: Path) -> Place:
    return Place(migrated_url, tmp_path, fleet=True)


@pytest.fixture
def sqlite_place(migrated_sqlite_url: str, tmp_path: Path) -> Place:
    return Place(migrated_sqlite_url, tmp_path, fleet=False)


def ids(verdict: Verdict) -> list[str]:
    return [finding.id for finding in verdict.findings]


def live(database: Database, *names: str, late: float = 0.0) -> None:
    at = database.clock().now() - timedelta(seconds=late)
    with database.write() as conn:
        for name in names:
            record_pulse(conn, name, now=at, detail={"every": 5})


def test_a_fleet_whose_processes_are_alive_is_well_and_a_dead_beat_is_told(place: Place) -> None:
    database = open_database(place.database)
    before = ids(look(place, HealthLimits()))
    live(database, "beat", "tick", "chores")
    alive = look(place, HealthLimits())
    live(database, "beat", late=30)
    dead = look(place, HealthLimits())
    database.close()

    assert before == ["beat:beat", "control:tick", "control:chores"]
    assert (alive.well, alive.findings) == (True, ())
    assert (dead.well, ids(dead)) == (False, ["beat:beat"])


def test_an_up_that_rested_and_died_is_missed_at_once_where_its_lock_can_be_seen(place: Place) -> None:
    database, alone = open_database(place.database), replace(place, fleet=False)
    found = []
    for lock in (lock_of(place.home), lock_of(Path("/elsewhere"))):
        detail = {"every": 15, "rests": 300, "lock": lock}
        with database.write() as conn:
            record_pulse(conn, "up", now=database.clock().now() - timedelta(minutes=4), detail=detail)
        found.append([ids(look(alone, HealthLimits(), held=held)) for held in (False, True)])
    database.close()

    assert found == [[["serving:up"], []], [[], []]]


def test_facts_are_read_of_hosts_and_of_what_waits(place: Place) -> None:
    database = open_database(place.database)
    now = database.clock().now()
    with database.write() as conn:
        for name in ("well", "gone", "sick", "once"):
            add_host(conn, Host(name, f"http://{name}:11434"), now=now, permanent=name != "once")
        record_unreachable(conn, "gone", message="refused", now=now - timedelta(hours=1))
        quarantine_host(conn, "sick", until=now + timedelta(minutes=5), reason="silent")
        batch, _ = create_batch(conn, key="k", name="b", source=None, now=now)
        insert_jobs(conn, batch.id, [new_job(0)], now=now - timedelta(hours=30))
        seal_batch(conn, batch.id, jobs=1, now=now - timedelta(hours=30))
        promote_sealed(conn, limit=10, now=now - timedelta(hours=30))
    live(database, "beat", "tick", "chores")
    facts, verdict = gather(place, held=False), look(place, HealthLimits())
    database.close()

    assert [host.name for host in facts.hosts] == ["gone", "sick", "well"]
    assert all(host.work_since == facts.waiting[0].oldest_at for host in facts.hosts)
    assert ids(verdict) == ["hosts:gone", "hosts:sick", "hosts:well", "jobs:oldest"]
    assert "no worker serves it" in verdict.findings[2].message


def test_a_database_that_is_away_or_of_another_schema_is_a_finding(tmp_path: Path, sqlite_url: str) -> None:
    away = look(Place("postgresql://nobody@127.0.0.1:1/x", tmp_path, fleet=True), HealthLimits())
    with closing(sqlite3.connect(make_url(sqlite_url).database or "")) as conn:
        conn.execute("CREATE TABLE alembic_version (version_num TEXT)")
        conn.execute("INSERT INTO alembic_version VALUES ('9999')")
        conn.commit()
    newer = look(Place(sqlite_url, tmp_path, fleet=False), HealthLimits())

    assert ids(away) == ["database:away"]
    assert ids(newer) == ["database:schema"]
    assert "9999" in newer.findings[0].message


@pytest.mark.fault(12)
def test_a_full_database_is_a_finding_that_says_so(
    sqlite_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    import worker.health.facts as facts_module

    def full(url: str, **arguments: Any) -> Database:
        database = open_database(url, **arguments)
        with database.write() as conn:  # the one connection of its pool
            pages = conn.exec_driver_sql("PRAGMA page_count").scalar()
            conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        return database

    monkeypatch.setattr(facts_module, "open_database", full)

    assert ids(look(sqlite_place, HealthLimits())) == ["database:full"]


def test_an_installation_that_nobody_has_used_yet_is_well_and_nothing_is_made(tmp_path: Path) -> None:
    place = Place(f"sqlite:///{tmp_path / 'new' / 'caravan.db'}", tmp_path / "new", fleet=False)

    assert look(place, HealthLimits()).findings == ()
    assert not (tmp_path / "new").exists()


@pytest.mark.fault(30)
def test_a_disk_without_room_is_a_finding(sqlite_place: Place) -> None:
    verdict = look(sqlite_place, HealthLimits(disk_free=2**60))

    assert ids(verdict) == [f"disk:{sqlite_place.home}"]


def test_answers_that_wait_in_the_spool_are_found_by_the_oldest_of_them(sqlite_place: Place) -> None:
    spool = sqlite_place.home / "spool"
    spool.mkdir()
    old = (gather(sqlite_place, held=False).now - timedelta(hours=1)).isoformat()
    (spool / "young.jsonl").write_text('{"job_id": 1}\n', encoding="utf-8")
    (spool / "empty.jsonl").touch()
    (spool / "old.jsonl").write_text(f'{{"job_id": 1, "ended_at": "{old}"}}\n', encoding="utf-8")
    (spool / "untouched.jsonl").write_text("?", encoding="utf-8")
    os.utime(spool / "untouched.jsonl", (0, 0))

    assert ids(look(sqlite_place, HealthLimits())) == ["spool:old.jsonl", "spool:untouched.jsonl"]


def test_one_may_look_at_some_of_it_alone(place: Place) -> None:
    verdict = look(place, HealthLimits())

    assert ids(chosen(verdict, frozenset({Kind.BEAT}))) == ["beat:beat"]
    assert chosen(verdict, frozenset({Kind.DISK})).well
    assert chosen(verdict, frozenset()) == verdict


class Told:
    """Two that watch one installation, a mailbox and an address that is pinged."""

    def __init__(self, place: Place, box: Mailbox, pinged: Pinged) -> None:
        smtp = f"smtp://127.0.0.1:{box.port}/?from=c@example.org&starttls=never"
        telling = Telling(smtp, "ops@example.org", f"{pinged.url}/id")
        self.box, self.pinged = box, pinged
        self.watches = [Watch(place, HealthLimits(), telling, every=0.0) for _ in range(2)]

    def look(self) -> None:
        for watch in self.watches:
            watch.once()


def test_two_that_watch_send_one_mail_when_it_turns_bad_and_one_when_it_is_well(place: Place) -> None:
    database = open_database(place.database)
    live(database, "beat", "tick", "chores")
    with mail_server_here() as box, pinged_here() as pinged:
        told = Told(place, box, pinged)
        told.look()
        quiet = list(box.subjects)
        live(database, "beat", late=60)
        told.look()
        told.look()
        live(database, "beat")
        told.look()
        told.look()
    database.close()

    assert quiet == []
    assert [subject.partition(": ")[2].partition(":")[0] for subject in box.subjects] == [
        "caravan beat",
        "well again",
    ]
    assert set(pinged.paths) == {"/id", "/id/fail"}


def test_one_look_a_minute_pings_once_however_many_watch(place: Place) -> None:
    with pinged_here() as pinged:
        telling = Telling(ping_url=f"{pinged.url}/id")
        for _ in range(3):
            Watch(place, HealthLimits(), telling).once()

    assert pinged.paths == ["/id/fail"]


def test_a_mail_that_did_not_get_out_is_sent_with_the_next_look(place: Place) -> None:
    with mail_server_here(refuse="451 later") as box, pinged_here(status=500) as pinged:
        told = Told(place, box, pinged)
        told.look()
        box.refuse = None
        told.look()
        told.look()

    assert len(box.subjects) == 1


def test_a_database_that_stays_away_is_mailed_too_and_so_is_its_return(place: Place, tmp_path: Path) -> None:
    database = open_database(place.database)
    live(database, "beat", "tick", "chores")
    with mail_server_here() as box, pinged_here() as pinged:
        told = Told(place, box, pinged)
        watch = told.watches[0]
        there, watch._place = watch._place, Place("postgresql://x@127.0.0.1:1/x", tmp_path, fleet=True)
        watch.once()
        after_one = len(box.mails)
        watch.once()
        watch.once()
        watch._place = there
        watch.once()
    database.close()

    assert after_one == 0, "a database that is started anew wakes nobody"
    assert [subject.endswith("well again") for subject in box.subjects] == [False, True]
    assert pinged.paths == ["/id/fail"] * 3 + ["/id"]


def test_a_look_that_breaks_is_a_finding_and_not_the_end(
    sqlite_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    import worker.health.watch as watch_module

    def breaks(*_: object, **__: object) -> Verdict:
        raise ZeroDivisionError

    monkeypatch.setattr(watch_module, "look", breaks)

    verdict = Watch(sqlite_place, HealthLimits(), Telling()).once()

    assert (verdict.well, ids(verdict)) == (False, ["database:look"])


def test_the_address_says_what_the_look_found(sqlite_place: Place) -> None:
    port = free_port()
    watch = Watch(sqlite_place, HealthLimits(disk_free=2**60), Telling(address=f"{port}"))
    stop = threading.Event()
    thread = threading.Thread(target=watch.run, args=(stop,))
    thread.start()
    try:

        def answered() -> dict[str, Any]:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5)
            except urllib.error.HTTPError as error:
                with error:
                    return {"status": error.code, **json.load(error)}
            except OSError:
                return {}
            return {}

        told = wait_until(answered, description="/healthz answers")
    finally:
        stop.set()
        thread.join(timeout=10)

    assert (told["status"], told["well"]) == (503, False)
    assert told["findings"][0]["kind"] == "disk"


def test_an_address_that_is_taken_is_tried_again(
    sqlite_place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    with pinged_here() as other:
        watch = Watch(sqlite_place, HealthLimits(), Telling(address=other.url.removeprefix("http://")))
        stop = threading.Event()
        stop.set()
        watch.run(stop)

    assert "health.address_in_use" in caplog.text


def test_what_is_set_wrong_is_refused_before_anything_is_to_be_told() -> None:
    with pytest.raises(SettingsRefused, match="CARAVAN_SMTP_URL"):
        Teller(Telling(smtp_url="http://h/?from=a@b.c"))
    with pytest.raises(SettingsRefused, match="CARAVAN_PING_URL"):
        Teller(Telling(ping_url="nowhere"))


def test_a_mail_server_that_is_there_for_batches_alone_gets_no_mail_of_health() -> None:
    assert not Teller(Telling(smtp_url="smtp://h/?from=a@b.c")).mails


def test_a_password_that_is_not_here_is_told_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.health.letters import Letter
    from worker.notify.bounded import DeliveryError

    teller = Teller(Telling("smtp://me@127.0.0.1:1/?from=a@b.c&password=env:NOT_HERE", "a@b.c"))

    with pytest.raises(DeliveryError, match="env:NOT_HERE"):
        teller.mail(Letter("s", "t"))


def test_the_probe_is_no_process_that_is_missed(place: Place) -> None:
    look(place, HealthLimits())
    database = open_database(place.database)
    with database.read() as conn:
        found = read_pulses(conn)
    database.close()

    assert list(found) == [PROBE]


def test_findings_have_one_name_each() -> None:
    assert Finding(Kind.DISK, "/", "t", "r").id == "disk:/"
