"""``caravan schedule`` as a person uses it, on simulated hosts: embedded, and on a fleet."""

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import text

import simulator
from tests.acceptance.conftest import MODELS, Fleet, caravan
from tests.processes import CARAVAN, Processes
from tests.repo.docs.pages import ROOT
from tests.waiting import wait_until
from worker.clock import SystemClock
from worker.domain.schedules import FiringState
from worker.storage.engine import open_database
from worker.storage.firings import list_firings, open_firing, take_firing
from worker.storage.schedules import get_schedule

Environment = dict[str, str]
Hosts = tuple[simulator.RunningHost, ...]
COUNTS = ("new", "changed", "reused", "retried", "gone", "failed", "answered", "left")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for name in ("a", "b", "c"):
        (inbox / f"{name}.txt").write_text(f"This is document {name}.")
    (inbox / "broken.pdf").write_bytes(b"%PDF-1.4 and nothing")
    return inbox


def add(environment: Environment, inbox: Path, *more: str, name: str = "nightly", check: bool = True) -> Any:
    return caravan(
        *["schedule", "add", name, "--cron", "0 2 * * *", "--tz", "Europe/Berlin"],
        *["--documents", f"{inbox}/**", "--prompt", "Sum up: {{ document.text }}", "--model", MODELS[0]],
        *more,
        env=environment,
        check=check,
    )


def counts(report: dict[str, Any]) -> dict[str, int]:
    return {name: report[name] for name in COUNTS if report[name]}


@pytest.mark.thorough
def test_each_night_asks_only_what_is_new_or_changed(
    environment: Environment, hosts: Hosts, inbox: Path
) -> None:
    def night() -> dict[str, Any]:
        done = caravan(
            *["schedule", "run", "nightly", "--host", hosts[0].url, "--json"], env=environment, check=False
        )
        assert done.returncode == 3, done.stderr  # one document cannot be read, night for night
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    added = add(environment, inbox)
    first = night()
    second = night()
    (inbox / "a.txt").write_text("Now it says something else.")
    (inbox / "d.txt").write_text("This one is new.")
    (inbox / "c.txt").unlink()
    third = night()
    history = caravan("schedule", "history", "nightly", env=environment).stdout

    assert "4 files match" in added.stderr
    assert "Europe/Berlin, in" in added.stdout
    assert counts(first) == {"new": 3, "failed": 1, "answered": 3}
    assert counts(second) == {"reused": 3, "failed": 1}
    assert counts(third) == {"new": 1, "changed": 1, "reused": 1, "gone": 1, "failed": 1, "answered": 2}
    assert [one["code"] for one in third["failed_documents"]] == ["unreadable"]
    assert int(hosts[0].state()["completed"]) == 5
    assert [line.partition("  ")[2] for line in history.splitlines()] == [
        "1 new, 1 changed, 1 reused, 1 gone, 1 failed; 2 answered (batch 2)",
        "0 new, 0 changed, 3 reused, 0 gone, 1 failed; 0 answered",
        "3 new, 0 changed, 0 reused, 0 gone, 1 failed; 3 answered (batch 1)",
    ]


@pytest.mark.thorough
def test_a_firing_that_was_left_behind_is_gone_on_with(
    environment: Environment, hosts: Hosts, inbox: Path
) -> None:
    add(environment, inbox, "--documents", f"{inbox}/*.txt", "--root", str(inbox))
    (inbox / "broken.pdf").unlink()
    database = open_database(f"sqlite:///{environment['CARAVAN_HOME']}/caravan.db")
    with database.write() as conn:  # its time came while nothing ran, and whoever began to read died
        schedule = get_schedule(conn, "nightly")
        at = database.clock().now() - timedelta(minutes=5)
        firing = open_firing(conn, schedule, at, state=FiringState.DUE, now=at)
        assert firing is not None
        assert take_firing(conn, firing.id, token="dead", now=at, lease=timedelta(hours=1))
    database.close()

    done = caravan("schedule", "run", "nightly", "--host", hosts[0].url, env=environment)
    [only] = json.loads(caravan("schedule", "history", "nightly", "--json", env=environment).stdout)

    assert "Continuing the firing" in done.stderr
    assert not only["by_hand"]
    assert counts(only) == {"new": 3, "answered": 3}


@pytest.mark.thorough
def test_a_closed_window_is_told_and_not_waited_for(
    environment: Environment, hosts: Hosts, inbox: Path
) -> None:
    later = SystemClock().now() + timedelta(hours=11)
    window = f"{later:%H:%M}-{later + timedelta(hours=1):%H:%M}"
    add(environment, inbox, "--tz", "UTC", "--window", window)

    done = caravan(
        *["schedule", "run", "nightly", "--host", hosts[0].url, "--json"], env=environment, check=False
    )

    assert done.returncode == 3
    assert f"nothing starts before {later:%Y-%m-%dT%H:%M}" in done.stderr.replace("\n", "")
    assert counts(json.loads(done.stdout)) == {"new": 3, "failed": 1, "left": 3}
    assert int(hosts[0].state()["completed"]) == 0


@pytest.mark.thorough
def test_a_model_that_no_host_has_is_told_before_anything_fires(
    environment: Environment, hosts: Hosts, inbox: Path
) -> None:
    add(environment, inbox, "--model", "qwen3:8v")

    done = caravan("schedule", "run", "nightly", "--host", hosts[0].url, env=environment, check=False)
    nobody = caravan("schedule", "run", "nightly", "--host", "127.0.0.1:9", env=environment, check=False)

    assert done.returncode == 2
    assert "no host has the model 'qwen3:8v'" in done.stderr
    assert nobody.returncode == 4
    assert caravan("schedule", "history", "nightly", "--json", env=environment).stdout == "[]\n"


@pytest.mark.thorough
def test_a_second_add_shows_the_difference_and_needs_to_be_told(
    environment: Environment, inbox: Path
) -> None:
    add(environment, inbox)
    same = add(environment, inbox)
    refused = add(environment, inbox, "--priority", "bulk", check=False)
    replaced = add(environment, inbox, "--priority", "bulk", "--replace", "--json")

    assert same.stdout.startswith("nightly unchanged")
    assert refused.returncode == 1
    assert "+ priority: bulk" in refused.stderr
    assert "--replace" in refused.stderr
    assert json.loads(replaced.stdout)["spec"]["priority"] == "bulk"


@pytest.mark.thorough
def test_what_cannot_work_is_refused_when_it_is_said(environment: Environment, inbox: Path) -> None:
    def told(*more: str, name: str = "other") -> str:
        done = add(environment, inbox, *more, name=name, check=False)
        assert done.returncode == 2, done.stdout
        return str(done.stderr)

    assert "no such time zone" in told("--tz", "Europe/Bonn")
    assert "expected minute hour" in told("--cron", "0 25 * * *")
    assert "outside the roots" in told("--root", str(inbox / "deeper"))
    assert "expected letters" in told(name="what is this")
    assert "beside --prompt" in told("--template", str(inbox / "a.txt"))
    empty = add(environment, inbox, "--documents", f"{inbox}/*.odt", name="empty")
    assert "4 files match" in empty.stderr
    caravan("schedule", "remove", "empty", "--yes", env=environment)
    assert caravan("schedule", "list", "--json", env=environment).stdout == "[]\n"


@pytest.mark.thorough
def test_a_paused_schedule_says_so_until_it_is_resumed(environment: Environment, inbox: Path) -> None:
    add(environment, inbox)

    caravan("schedule", "pause", "nightly", "--reason", "the GPU is away", env=environment)
    paused = caravan("schedule", "show", "nightly", env=environment).stdout
    status = caravan("status", env=environment).stdout
    resumed = caravan("schedule", "resume", "nightly", env=environment).stdout
    shown = json.loads(caravan("schedule", "show", "nightly", "--json", env=environment).stdout)

    assert "paused: the GPU is away" in paused
    assert "schedules: nightly paused" in status
    assert "fires next" in resumed
    assert len(shown["next"]) == 3
    assert not shown["unreadable_roots"]


@pytest.mark.thorough
def test_a_file_of_schedules_is_compared_applied_and_pruned(
    environment: Environment, inbox: Path, tmp_path: Path
) -> None:
    file = tmp_path / "schedules.yaml"

    def write(names: list[str], **more: Any) -> None:
        one = {"cron": "0 2 * * *", "documents": "inbox/*.txt", "prompt": "{{ document.text }}"}
        said = {**one, "model": MODELS[0], **more}
        file.write_text(yaml.safe_dump({"schedules": {name: dict(said) for name in names}}))

    def apply(*more: str, check: bool = True) -> Any:
        return caravan("schedule", "apply", str(file), *more, env=environment, check=check)

    def names() -> list[str]:
        return [
            one["name"] for one in json.loads(caravan("schedule", "list", "--json", env=environment).stdout)
        ]

    add(environment, inbox, name="by-hand")
    write(["one", "two"])
    dry = apply("--dry-run").stdout
    assert "one: add" in dry
    assert names() == ["by-hand"]
    apply("--yes")
    assert names() == ["by-hand", "one", "two"]

    write(["one"], window=["22:00-06:00"])
    unsure = apply(check=False)
    assert unsure.returncode == 1
    assert "+ window: 22:00-06:00" in unsure.stdout
    assert "two is no longer in the file" in unsure.stdout
    apply("--yes", "--prune")
    assert names() == ["by-hand", "one"]
    assert "one: unchanged" in apply("--yes").stdout

    file.write_text("name: one\ncron: 0 2 * * *\ndocments: inbox/*.txt\n")
    wrong = apply("--yes", check=False)
    assert wrong.returncode == 2
    assert "schedules.yaml:3: unknown field 'docments'; did you mean documents?" in wrong.stderr


def test_prompts_are_shown_and_nothing_is_kept(environment: Environment, inbox: Path) -> None:
    done = add(environment, inbox, "--show", "2")

    assert done.stdout == "── a.txt\nSum up: This is document a.\n── b.txt\nSum up: This is document b.\n"
    assert caravan("schedule", "list", "--json", env=environment).stdout == "[]\n"


@pytest.mark.thorough
def test_the_example_is_applied_run_and_written(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    folder = tmp_path / "nightly"
    shutil.copytree(ROOT / "examples" / "nightly", folder)
    file = folder / "schedules.yaml"
    file.write_text(file.read_text().replace("qwen3:8b", MODELS[0]))

    caravan("schedule", "apply", str(file), "--yes", env=environment)
    done = caravan(
        *["schedule", "run", "nightly", "--host", hosts[0].url, "--json"], env=environment, check=False
    )

    assert done.returncode == 3, done.stderr  # a scan among them has no text
    report = json.loads(done.stdout)
    assert counts(report) == {"new": 7, "failed": 1, "answered": 7}
    assert report["failures"] == {"no_text": 1}
    written = sorted(str(path.relative_to(folder / "answers")) for path in folder.glob("answers/**/[!_]*.md"))
    assert {"ozymandias.pdf.answer.md", "zh/guanque.txt.answer.md"} <= set(written)
    assert len(written) == 7
    assert len(list(folder.glob("answers/_*.answer.md"))) == 1, "the summary of the night"


@pytest.mark.thorough
def test_two_beats_and_three_workers_at_once_fire_each_time_once(
    fleet: Fleet, inbox: Path, tmp_path: Path
) -> None:
    for name in ("control", "control", "beat", "beat"):
        fleet.start(name)
    add(fleet.env, inbox)
    for host in ("gpu-1", "gpu-2", "gpu-1"):
        fleet.start("worker", "--host", host)
    with fleet.database.read() as conn:
        schedule = get_schedule(conn, "nightly")
    for number in range(2):
        with fleet.database.write() as conn:
            past = fleet.database.clock().now() - timedelta(seconds=30)
            conn.execute(text("UPDATE schedules SET next_at = :at"), {"at": past})

        def ended(expected: int = number + 1) -> bool:
            with fleet.database.read() as conn:
                firings = list_firings(conn, schedule.id)
            return len(firings) >= expected and all(one.ended_at is not None for one in firings)

        wait_until(ended, description=f"firing {number} has ended", timeout=60, interval=0.1)
    by_hand = fleet.run("schedule", "run", "nightly", "--wait", "--json", check=False)

    assert by_hand.returncode == 3, by_hand.stderr  # one document cannot be read
    assert counts(json.loads(by_hand.stdout)) == {"reused": 3, "failed": 1}
    history = json.loads(fleet.run("schedule", "history", "nightly", "--json").stdout)
    assert [counts(one) for one in reversed(history)] == [
        {"new": 3, "failed": 1, "answered": 3},
        {"reused": 3, "failed": 1},
        {"reused": 3, "failed": 1},
    ]
    assert sum(int(host.state()["completed"]) for host in fleet.hosts) == 3
    assert len(json.loads(fleet.run("status", "--json").stdout)) == 1


@pytest.mark.thorough
def test_control_is_asked_whether_it_can_read_the_documents(fleet: Fleet, inbox: Path) -> None:
    alone = add(fleet.env, inbox)
    assert "does caravan control run?" in alone.stderr

    fleet.start("control")
    fleet.start("beat")
    assert "caravan control" not in add(fleet.env, inbox, name="read").stderr
    (inbox / "broken.pdf").unlink()
    template = inbox.parent / "gone"
    missing = add(
        fleet.env, inbox, "--root", str(inbox.parent), "--root", str(template), name="x", check=False
    )

    assert missing.returncode == 2
    assert f"cannot read {template}" in missing.stderr


@pytest.mark.thorough
def test_beside_an_up_the_work_is_left_to_it(
    environment: Environment, hosts: Hosts, inbox: Path, processes: Processes
) -> None:
    caravan("hosts", "add", "gpu-1", hosts[0].url, env=environment)
    add(environment, inbox)
    up = processes.start([*CARAVAN, "up"], name="up", env=environment)
    up.wait_for("serving gpu-1")

    waited = caravan("schedule", "run", "nightly", "--wait", "--json", env=environment, check=False)
    left = caravan("schedule", "run", "nightly", env=environment)

    assert waited.returncode == 3, waited.stderr
    assert counts(json.loads(waited.stdout)) == {"new": 3, "failed": 1, "answered": 3}
    assert "nightly fires; caravan schedule history nightly" in left.stdout


def test_what_would_fail_at_night_is_refused_when_it_is_said(
    environment: Environment, hosts: Hosts, inbox: Path
) -> None:
    caravan("hosts", "add", "gpu-1", hosts[0].url, env=environment)
    folder = inbox.parent

    def refused(*more: str) -> str:
        done = add(environment, inbox, *more, check=False)
        assert done.returncode == 2, done.stdout + done.stderr
        return str(done.stderr)

    near = f"{MODELS[0][:-1]}x"
    assert f"no host has the model '{near}'; did you mean '{MODELS[0]}'?" in refused("--model", near)
    assert "is a file, no folder" in refused("--output", f"{inbox}/a.txt/x")
    typo = folder / "typo.yaml"
    typo.write_text(
        "name: typo\ncron: 0 2 * * *\ndocuments: inbox/*.txt\nprompt: '{{ document.txt.upper() }}'\n"
        f"model: {MODELS[0]}\n"
    )
    applied = caravan("schedule", "apply", str(typo), "--yes", env=environment, check=False)
    assert applied.returncode == 2
    assert "txt" in applied.stderr
    assert applied.stderr.count("--prompt") == 1, "one message, not one for each document"

    (inbox / "Thumbs.db").write_bytes(b"\0")
    (inbox / "latin.txt").write_bytes("Größe".encode("cp1252"))
    added = add(environment, inbox, "--exclude", "broken.pdf", "--encoding", "cp1252")
    night = caravan("schedule", "run", "nightly", "--json", env=environment)
    assert "4 files match" in added.stderr
    assert counts(json.loads(night.stdout)) == {"new": 4, "answered": 4}


def test_documents_of_a_run_leave_out_litter_and_what_is_excluded(
    environment: Environment, hosts: Hosts, inbox: Path
) -> None:
    (inbox / "~$a.docx").write_text("lock")
    (inbox / "drafts").mkdir()
    (inbox / "drafts" / "d.txt").write_text("Draft.")

    done = caravan(
        *["run", "--documents", f"{inbox}/**", "--exclude", "drafts", "--exclude", "*.pdf"],
        *["--prompt", "Sum up: {{ document.text }}", "--model", MODELS[0], "--host", hosts[0].url],
        env=environment,
    )

    assert "3 documents read; left out: 2 excluded, 1 of other programs" in done.stderr
