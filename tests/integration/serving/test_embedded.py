"""The threads of the embedded stack outlive a defect in what they call."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import simulator
from api_schemas.jobs import JobDefaults
from tests.waiting import wait_until
from worker.dispatch import services
from worker.domain.hosts import Host
from worker.errors import DatabaseUnavailable
from worker.services.submit import submit_lines
from worker.settings import load_settings
from worker.stack import embedded as stack_module
from worker.stack.embedded import embedded, join_hosts
from worker.storage.counts import batch_progress


@pytest.mark.parametrize("error", [ValueError("a defect"), DatabaseUnavailable("away")])
@pytest.mark.parametrize(("module", "what"), [(stack_module, "serve_host"), (services, "promote")])
def test_what_breaks_once_is_tried_again_and_the_work_is_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: ModuleType, what: str, error: Exception
) -> None:
    real: Any = getattr(module, what)
    broken: list[str] = []

    def breaks_once(*args: Any, **kwargs: Any) -> Any:
        if not broken:
            broken.append(what)
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(module, what, breaks_once)
    host = simulator.HostSettings(name="gpu-1", models=simulator.demo_models(), time_scale=0.0)
    model = simulator.demo_models()[0].name
    with (
        simulator.running(host) as (running,),
        embedded(
            load_settings({}, home=tmp_path / "home", tick_seconds=0.05, idle_poll_seconds=0.05)
        ) as stack,
    ):
        join_hosts(stack, [Host("gpu-1", running.url)])
        batch = submit_lines(
            stack.database,
            [f'{{"model": "{model}", "prompt": "x"}}'],
            key="k",
            name="b",
            source=None,
            defaults=JobDefaults(),
            clock=stack.clock,
        ).batch
        stack.serve([Host("gpu-1", running.url)])

        def done() -> bool:
            with stack.database.read() as conn:
                return bool(broken) and batch_progress(conn, batch.id).done == 1

        wait_until(done, description="the job is answered though something broke")
