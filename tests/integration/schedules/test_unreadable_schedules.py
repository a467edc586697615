"""A schedule that this machine cannot read does not keep the others from firing."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from tests.clocks import FakeClock
from tests.integration.maintenance.test_unreadable_rows import set_json
from tests.integration.storage.conftest import Store
from worker.domain.schedules import ScheduleSpec
from worker.errors import PassIncomplete
from worker.schedules.open import open_due
from worker.storage.schedules import add_schedule


def test_a_schedule_in_an_unknown_zone_does_not_keep_the_others_from_firing(store: Store) -> None:
    with store.database.write() as conn:
        for name in ("nightly", "odd", "weekly"):
            spec = ScheduleSpec(cron="0 2 * * *", prompt="x", models=("m:1",))
            add_schedule(conn, name, spec, next_at=store.now, now=store.now - timedelta(days=1))
    odd = ScheduleSpec(cron="0 2 * * *", prompt="x", models=("m:1",), tz="US/Nowhere").plain
    set_json(store, "UPDATE schedules SET spec = :value WHERE name = 'odd'", odd)

    with pytest.raises(PassIncomplete, match=r"schedule odd: .*US/Nowhere"):
        open_due(store.database, clock=FakeClock(store.now))

    with store.database.read() as conn:
        fired = conn.scalar(text("SELECT count(*) FROM firings"))
    assert fired == 2
