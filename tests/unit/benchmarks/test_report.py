"""The report tells the ratios within the rounds, and which target was missed."""

import json

from benchmarks.contenders import Submission
from benchmarks.figures import Figures, Spread
from benchmarks.report import BASELINE, CARAVAN, LOOP, Results, as_json, missed, text


def run(cpu: float, rate: float) -> Figures:
    return Figures(1000, 1000 / rate, rate, {"worker": cpu, "control": 0.1}, {"worker": 90_000_000})


def results(*, cpu: float = 0.6, submits: float = 20_000) -> Results:
    found = Results()
    for slowdown in (1, 2, 4):
        found.serve(BASELINE, "sqlite", run(2.0 * slowdown, 400 / slowdown))
        found.serve(CARAVAN, "sqlite", run(cpu * slowdown, 1200 / slowdown))
        found.serve(LOOP, "", run(0.5 * slowdown, 1500 / slowdown))
        found.submit(BASELINE, "", Submission(1000, 0.5 * slowdown, 0.4))
        found.submit(CARAVAN, "sqlite", Submission(1000, 1000 / submits * slowdown, 0.04))
    return found


def test_a_machine_that_slows_down_changes_no_ratio() -> None:
    found = results()

    assert found.cpu_ratio("sqlite") == Spread(0.3, 0.3, 0.3)
    assert found.rate_ratio("sqlite") == Spread(3.0, 3.0, 3.0)
    assert found.submit_ratio("sqlite") == Spread(10.0, 10.0, 10.0)


def test_targets_that_are_met_are_not_mentioned() -> None:
    assert missed(results()) == []


def test_a_missed_target_is_named_with_its_figure() -> None:
    assert missed(results(cpu=1.3, submits=8_000)) == [
        "sqlite: 65% of the baseline's worker CPU per job, not under 60%",
        "sqlite: submitted 4.0 times as fast as delay, not 5",
    ]


def test_the_text_holds_every_contender_and_the_ratios() -> None:
    told = text(results())

    for name in (BASELINE, CARAVAN, LOOP, "30% – 30% – 30%", "10.0 – 10.0 – 10.0", "worker 90"):
        assert name in told


def test_the_json_holds_every_round() -> None:
    plain = json.loads(json.dumps(as_json(results(), {"machine": "2 cores"})))

    assert [len(one["rounds"]) for one in plain["served"]] == [3, 3, 3]
    assert plain["summary"]["sqlite"]["submit_ratio"]["middle"] == 10.0
    assert plain["missed"] == []
