"""Each row that cannot be read is named by ``caravan health``."""

from pathlib import Path

from tests.integration.maintenance.test_unreadable_rows import NEWER_FORM, UNKNOWN_ZONE, sealed, set_json
from tests.integration.storage.conftest import Store
from worker.domain.health import HealthLimits
from worker.domain.schedules import ScheduleSpec
from worker.health.facts import Place, gather
from worker.health.findings import findings
from worker.storage.schedules import add_schedule


def test_health_names_each_row_that_cannot_be_read(store: Store, tmp_path: Path) -> None:
    odd = sealed(store)
    with store.database.write() as conn:
        spec = ScheduleSpec(cron="0 2 * * *", prompt="x", models=("m:1",))
        add_schedule(conn, "odd", spec, next_at=None, now=store.now)
    set_json(store, f"UPDATE batches SET windows = :value WHERE id = {odd}", UNKNOWN_ZONE)
    set_json(store, "UPDATE hosts SET windows = :value WHERE name = 'gpu-2'", NEWER_FORM)
    set_json(store, "UPDATE schedules SET spec = :value", "nonsense")

    url = store.database.url.render_as_string(hide_password=False)
    facts = gather(Place(url, tmp_path, fleet=False), held=False)
    named = {finding.about: finding.message for finding in findings(facts, HealthLimits()) if finding.bad}

    assert {f"batches.{odd}", "hosts.gpu-2", "schedules.odd"} <= set(named)
    assert "US/Nowhere" in named[f"batches.{odd}"]
