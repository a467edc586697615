"""What a night reports of answers that are cut, of documents that failed, and of jobs that are held."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from tests.integration.schedules.nights import MODEL, Nights, counts
from tests.integration.storage.conftest import a_result
from worker.domain.attempts import Failed, Succeeded
from worker.domain.hosts import HostModel
from worker.domain.schedules import FiringState
from worker.errors import Code, InputRefused
from worker.health.facts import Place, gather
from worker.schedules.check import check_hours, check_models, check_prompts, unwritable
from worker.schedules.letter import letter
from worker.schedules.report import message_of_firing
from worker.storage.hosts import record_probe

FIRST = datetime(2026, 3, 26, 1, 30, tzinfo=UTC)
DAY = timedelta(days=1)
CUT = Succeeded(a_result(answer="Begin with the", cut=True, prompt_fit="no"))


def night(nights: Nights, at: datetime, outcome: object = None) -> dict[str, object]:
    nights.until(at)
    nights.tick()
    nights.work()
    nights.settle()  # which holds jobs of models that no host has
    nights.answer(outcome=outcome)  # type: ignore[arg-type]
    nights.settle()
    return nights.report()


def host_has(nights: Nights, *models: str) -> None:
    with nights.database.write() as conn:
        there = [HostModel(name, "sha256:one", False, 8192) for name in models]
        record_probe(conn, "gpu-1", version="0.24.0", models=there, now=nights.clock.now())


def rows(nights: Nights, query: str) -> list[dict[str, object]]:
    with nights.database.read() as conn:
        return [dict(row) for row in conn.execute(text(query)).mappings()]


def test_a_night_counts_and_names_answers_that_are_cut_or_unfit(nights: Nights) -> None:
    nights.write(a="One.", b="Two.")
    nights.schedule(output="answers", form="md")

    report = night(nights, FIRST, CUT)

    assert (report["answered"], report["cut"], report["unfit"], report["empty"]) == (2, 2, 2, 0)
    assert [one["document"] for one in report["flawed_answers"]] == ["a.txt", "b.txt"]  # type: ignore[attr-defined]
    told = letter(report)
    assert "2 cut" in told.splitlines()[0]
    assert f"caravan retry {report['batch']} --cut" in told
    answer = (nights.folder / "answers" / "a.txt.answer.md").read_text()
    assert "\ncut: true\n" in answer
    assert '\nprompt_fit: "no"\n' in answer
    [summary] = (nights.folder / "answers").glob("_nightly-*.answer.md")
    assert "b.txt: cut" in summary.read_text()
    assert (
        rows(nights, "SELECT cut, prompt_fit FROM report_documents ORDER BY custom_id")
        == [{"cut": True, "prompt_fit": "no"}] * 2
    )
    assert rows(nights, "SELECT last_cut, last_unfit, last_failed FROM report_schedules") == [
        {"last_cut": 2, "last_unfit": 2, "last_failed": 0}
    ]


def test_cut_answers_that_are_reused_are_counted_each_night(nights: Nights) -> None:
    nights.write(a="One.", b="Two.")
    nights.schedule()
    first = night(nights, FIRST, CUT)

    report = night(nights, FIRST + DAY)

    assert counts(report) == {"reused": 2}
    assert report["reused_flawed"] == {"cut": 2, "empty": 0, "unfit": 2, "batches": [first["batch"]]}
    assert f"caravan retry {first['batch']} --cut" in letter(report)


def test_cut_answers_are_asked_for_again_where_the_schedule_says_so(nights: Nights) -> None:
    nights.write(a="One.", b="Two.")
    nights.schedule(ask_cut_again=True)
    night(nights, FIRST, CUT)

    again = night(nights, FIRST + DAY)
    quiet = night(nights, FIRST + 2 * DAY)

    assert counts(again) == {"retried": 2, "answered": 2}
    assert counts(quiet) == {"reused": 2}
    assert "reused answers" not in letter(quiet)


def test_documents_that_failed_at_the_model_are_named_with_their_model(nights: Nights) -> None:
    nights.write(a="One.", b="Two.")
    nights.schedule(models=[MODEL, "llama3.2:3b"], output="answers", form="json")
    host_has(nights, MODEL, "llama3.2:3b")

    report = night(nights, FIRST, Failed(Code.CONTEXT_OVERFLOW, "the prompt has 9,000 tokens"))

    assert report["failures"] == {"context_overflow": 4}
    named = [(one["document"], one["model"], one["code"]) for one in report["failed_documents"]]  # type: ignore[attr-defined]
    assert named == [
        (document, model, "context_overflow")
        for document in ("a.txt", "b.txt")
        for model in ("llama3.2:3b", MODEL)
    ]
    assert f"a.txt ({MODEL}): context_overflow: the prompt has 9,000 tokens" in letter(report)
    [summary] = (nights.folder / "answers").glob("_nightly-*.answer.json")
    assert json.loads(summary.read_text())["failed_documents"] == report["failed_documents"]


def test_a_letter_says_how_many_failures_it_does_not_name(nights: Nights) -> None:
    nights.write(**{f"d{n:03}": "" for n in range(60)})
    nights.schedule()

    report = night(nights, FIRST)

    assert len(report["failed_documents"]) == 60  # type: ignore[arg-type]
    assert "and 10 more that failed" in letter(report)
    assert "empty: empty" not in letter(report)


def test_failures_are_known_the_second_night_and_tell_nobody_who_wants_new_ones(nights: Nights) -> None:
    nights.write(a="One.", b="Two.", c="")
    nights.schedule()
    failing = Failed(Code.CONTEXT_OVERFLOW, "too long")
    first = night(nights, FIRST, failing)
    since = rows(nights, "SELECT custom_id, error_at FROM report_documents ORDER BY custom_id")

    second = night(nights, FIRST + DAY, failing)
    nights.write(a="Another text.", d="")
    third = night(nights, FIRST + 2 * DAY, failing)

    assert (first["failed"], first["failed_known"]) == (3, 0)
    assert (second["failed"], second["failed_known"]) == (3, 3)
    assert (third["failed"], third["failed_known"]) == (4, 2)
    assert [one["document"] for one in third["failed_documents"] if not one["known"]] == ["a.txt", "d.txt"]  # type: ignore[attr-defined]
    bad = [
        message_of_firing(nights.database, one.id, now=nights.clock.now()).is_bad for one in nights.firings()
    ]
    assert bad == [True, False, True], "the newest first"
    now = rows(nights, "SELECT custom_id, error_at FROM report_documents ORDER BY custom_id")
    assert [one for one in now if one["custom_id"] in ("b.txt", "c.txt")] == since[1:], "since when it fails"


def test_a_firing_of_which_only_held_jobs_are_left_fails_and_does_not_block_the_next(nights: Nights) -> None:
    nights.write(a="One.", b="Two.")
    nights.schedule(models=[MODEL, "mistral:latest"])

    held = night(nights, FIRST)
    second = night(nights, FIRST + DAY)

    assert (held["held"], held["state"]) == (2, "failed")
    assert counts(held) == {"new": 4, "answered": 2, "left": 2}
    assert "mistral:latest" in letter(held)
    assert f"caravan retry {held['batch']} --state held" in letter(held)
    assert "2 answered, 2 held" in letter(held).splitlines()[0]
    told = message_of_firing(nights.database, nights.firings()[1].id, now=nights.clock.now())
    assert (told.event, told.is_bad) == ("firing.failed", True)
    assert (second["state"], counts(second)) == ("finished", {"reused": 2, "pending": 2})
    assert all(one.state is not FiringState.SKIPPED for one in nights.firings())

    host_has(nights, MODEL, "mistral:latest")
    third = night(nights, FIRST + 2 * DAY)
    fourth = night(nights, FIRST + 3 * DAY)

    assert third["pending"] == 2
    assert counts(fourth) == {"reused": 4}, "a model that was pulled is asked without anybody's help"


def test_health_names_a_schedule_whose_last_firing_failed(nights: Nights, migrated_url: str) -> None:
    nights.write(a="One.")
    nights.schedule(models=["mistral:latest"])
    night(nights, FIRST)

    facts = gather(Place(migrated_url, nights.folder, fleet=False), held=False)

    [failed] = facts.failed_nights
    assert failed.name == "nightly"
    assert "1 job is held" in failed.reason


def test_a_template_that_fails_for_all_documents_is_refused_when_it_is_said(nights: Nights) -> None:
    nights.write(a="One.", b="Two.", c="Three.", d="Four.")

    with pytest.raises(InputRefused, match="txt"):
        check_prompts(nights.schedule(template=None, prompt="{{ document.txt.upper() }}").spec)

    combined = {"long": "split", "combine": "combine.j2"}
    (nights.folder / "combine.j2").write_text("{% for part in parts %}{{ part.anwser.upper() }}{% endfor %}")
    with pytest.raises(InputRefused, match="combine"):
        check_prompts(nights.schedule(**combined).spec)


def test_a_template_that_fails_at_night_is_one_line_of_the_report(nights: Nights) -> None:
    nights.write(a="One.", b="Two.", c="Three.", d="Four.")
    nights.schedule()
    nights.template("{{ document.metadata.titel.upper() }}")

    report = night(nights, FIRST)

    assert report["failures"] == {"template_error": 4}
    lines = [line for line in letter(report).splitlines() if "titel" in line]
    assert len(lines) == 1
    assert "a.txt, b.txt, c.txt and 1 more: template_error" in lines[0]


def test_litter_and_what_is_excluded_is_left_out_and_counted(nights: Nights) -> None:
    nights.write(a="One.", **{"~$a": "lock", "old": "Old."})
    inbox = nights.folder / "inbox"
    (inbox / "drafts").mkdir()
    (inbox / "drafts" / "x.txt").write_text("Draft.")
    (inbox / "Thumbs.db").write_bytes(b"\0")
    (inbox / "desktop.ini").write_text("[x]")
    os.mkfifo(inbox / "pipe.txt")
    nights.schedule(documents=["inbox/**"], exclude=["drafts", "old.*"])

    report = night(nights, FIRST)

    assert counts(report) == {"new": 1, "answered": 1}
    assert report["left_out"] == {"excluded": 2, "litter": 3, "special": 1}
    assert "left out: 2 excluded, 3 of other programs" in letter(report)


def test_documents_are_read_in_the_encoding_that_the_schedule_says(nights: Nights) -> None:
    nights.write(a="One.")
    (nights.folder / "inbox" / "latin.txt").write_bytes("Größe der Bäume".encode("cp1252"))
    nights.schedule(encoding="cp1252")

    report = night(nights, FIRST)

    assert counts(report) == {"new": 2, "answered": 2}
    answers = rows(nights, "SELECT answer FROM report_documents WHERE custom_id = 'latin.txt'")
    assert "Größe der Bäume" in str(answers[0]["answer"])


def test_a_folder_that_cannot_be_written_is_told_with_the_reason(nights: Nights) -> None:
    (nights.folder / "file").write_text("x")

    found = unwritable([str(nights.folder / "new" / "deeper"), str(nights.folder / "file" / "x"), "/proc/x"])

    assert [one.partition(":")[0] for one in found] == [str(nights.folder / "file" / "x"), "/proc/x"]
    assert not (nights.folder / "new").exists()


def test_a_model_is_refused_only_where_it_is_known_that_no_host_has_it(nights: Nights) -> None:
    spec = nights.schedule().spec

    def nobody(host: object) -> object:
        raise AssertionError("a host was asked although its models are known")

    assert check_models(nights.database, spec, open_host=nobody) == []  # type: ignore[arg-type]
    [warning] = check_models(
        nights.database,
        replace(spec, models=("qwen3:8v",)),
        open_host=_away,  # type: ignore[arg-type]
    )
    assert "did you mean 'qwen3:8b'?" in warning
    assert "gpu-1 cannot be reached" in warning


def _away(host: object) -> object:
    from worker.errors import SettingsRefused

    raise SettingsRefused("a secret is not here")


def test_a_time_outside_of_the_window_is_said_when_the_schedule_is_said(nights: Nights) -> None:
    nights.write(a="One.")
    inside = nights.schedule(cron="0 2 * * *", window=["01:00-06:00"]).spec
    outside = nights.schedule(cron="0 4 * * *", window=["17:17-17:19"]).spec
    now = nights.clock.now()

    assert check_hours(inside, now=now) == []
    [warning] = check_hours(outside, now=now)
    assert "it fires at 2026-03-26 04:00, outside of its window" in warning
    assert "its jobs wait until 2026-03-26 17:17" in warning
