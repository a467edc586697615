"""A worker that is replaced: what its predecessor left on the machine is stored, also for hosts that nobody serves."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.acceptance.conftest import Fleet, write_jobs
from tests.integration.storage.conftest import ending
from tests.waiting import wait_until
from worker.domain.attempts import Finish
from worker.services.spool import Spool, spool_path
from worker.storage.backlog import open_runner_keys
from worker.storage.claims import claim_jobs
from worker.storage.hosts import remove_host


@pytest.mark.fault(11)
@pytest.mark.thorough
def test_a_worker_stores_at_its_start_what_was_generated_here_for_a_host_that_was_removed(
    fleet: Fleet, tmp_path: Path
) -> None:
    raise NotImplementedError
