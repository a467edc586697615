"""What costs a batch its time, each with its remedy; and nothing where nothing is worth a change."""

from worker.domain.hosts import LoadedModel
from worker.domain.jobs import Priority
from worker.explain.costs import AtOnce, Costs, Rival, what_costs_time
from worker.storage.costs import Loading, Spent

QUICK = Spent("qwen3:8b", 100, 500.0, 20.0, 450.0, 30_000, 0, 90_000)


def test_a_batch_that_goes_as_it_should_is_told_nothing() -> None:
    well = Costs(
        7,
        spent=[QUICK],
        loading=[Loading("gpu-1", 3, 60.0, 3600.0)],
        loaded={"gpu-1": [LoadedModel("qwen3:8b", "d", 8192, 8 * 10**9, 8 * 10**9)]},
    )

    assert what_costs_time(well) == []


def test_loading_that_takes_a_third_of_the_time_is_said_with_what_helps() -> None:
    costs = Costs(7, loading=[Loading("gpu-1", 20, 600.0, 1500.0), Loading("gpu-2", 10, 300.0, 1500.0)])

    (told,) = what_costs_time(costs)

    assert told.startswith("loading took 30% of the hosts' time (30 loads, 15 min): ")
    assert told.endswith("caravan hosts set gpu-1 --models 2")


def test_one_load_is_never_too_much() -> None:
    assert what_costs_time(Costs(7, loading=[Loading("gpu-1", 1, 60.0, 70.0)])) == []


def test_those_whose_jobs_come_first_are_named_and_those_who_share_the_turn() -> None:
    rivals = [
        Rival(3, "nightly", 8000, before=True),
        Rival(4, "reviews", 10, before=False),
        Rival(5, "b", 9, before=False),
        Rival(6, "c", 8, before=False),
        Rival(8, "d", 7, before=False),
    ]

    first, second = what_costs_time(Costs(7, rivals=rivals))

    assert first == (
        "jobs of others come before it: 8,000 of batch 3 (nightly); caravan edit 7 --priority high"
    )
    assert second == (
        "jobs of others take turns with it: 10 of batch 4 (reviews), 9 of batch 5 (b), 8 of batch 6 (c) "
        "and 1 more batches; caravan edit 7 --priority high"
    )


def test_what_cannot_be_more_urgent_is_not_told_to_be() -> None:
    rivals = [Rival(4, "reviews", 10, before=False)]

    (high,) = what_costs_time(Costs(7, Priority.HIGH, rivals=rivals))
    (interactive,) = what_costs_time(Costs(7, Priority.INTERACTIVE, rivals=rivals))

    assert high.endswith("caravan edit 7 --priority interactive")
    assert interactive.endswith("10 of batch 4 (reviews)")


def test_a_model_that_lies_partly_on_the_cpu_is_said_with_its_share() -> None:
    loaded = {
        "gpu-1": [LoadedModel("qwen3:8b", "d", 8192, 10**10, 7 * 10**9)],
        "gpu-2": [LoadedModel("qwen3:8b", "d", 8192, 10**10, 0)],
    }

    partly, wholly = what_costs_time(Costs(7, loaded=loaded))

    assert partly.startswith(
        "30% of qwen3:8b is on the CPU of gpu-1, which slows all of it down: a smaller num_ctx"
    )
    assert wholly.startswith("qwen3:8b runs on the CPU of gpu-2 alone")


def test_fewer_answers_at_once_than_slots_are_said() -> None:
    (told,) = what_costs_time(Costs(7, at_once=[AtOnce("gpu-1", "qwen3:8b", 1, 4)]))

    assert told.startswith(
        "gpu-1 gives 1 answer of qwen3:8b at once, its slots are 4: start Ollama there with OLL"
    )


def test_reasoning_long_answers_and_long_prompts_are_said_each_with_its_remedy() -> None:
    reasons = Spent("a:1", 100, 900.0, 10.0, 880.0, 180_000, 400_000, 100_000)
    long_ = Spent("b:1", 100, 900.0, 10.0, 810.0, 180_000, 0, 500_000)
    reads = Spent("c:1", 100, 900.0, 540.0, 300.0, 20_000, 0, 60_000)

    told = what_costs_time(Costs(7, spent=[reasons, long_, reads]))

    assert told[0] == "80% of what a:1 writes is reasoning: --no-think, where that is good enough"
    assert told[1].startswith("answers of b:1 have 1,800 tokens on average, 90% of their time: ")
    assert told[2].startswith("reading the prompts takes 60% of c:1's time: put what prompts share")
    assert len(told) == 3


def test_a_handful_of_answers_tells_nothing_yet() -> None:
    assert what_costs_time(Costs(7, spent=[Spent("a:1", 4, 90.0, 80.0, 1.0, 18_000, 9_000, 1)])) == []
