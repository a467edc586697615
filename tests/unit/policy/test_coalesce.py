"""Which runner serves which of the queued runner keys."""

from worker.policy.coalesce import Group, coalesce


def test_windows_of_one_model_are_one_load() -> None:
    groups = coalesce(["m:1 num_ctx>=4096", "m:1 num_ctx>=8192"])

    assert groups == [Group("m:1 num_ctx=8192", ("m:1 num_ctx>=4096", "m:1 num_ctx>=8192"))]


def test_one_long_document_does_not_make_every_window_large() -> None:
    groups = coalesce(["m:1 num_ctx>=4096", "m:1 num_ctx>=131072"])

    assert [group.runner_key for group in groups] == ["m:1 num_ctx=131072", "m:1 num_ctx=4096"]


def test_a_loaded_runner_is_used_however_large_it_is() -> None:
    groups = coalesce(["m:1 num_ctx>=4096"], resident=["m:1 num_ctx=131072"])

    assert groups == [Group("m:1 num_ctx=131072", ("m:1 num_ctx>=4096",))]


def test_a_window_that_a_producer_named_stays_what_it_is() -> None:
    groups = coalesce(["m:1 num_ctx=4096"], resident=["m:1 num_ctx=8192"])

    assert groups == [Group("m:1 num_ctx=4096", ("m:1 num_ctx=4096",))]


def test_a_job_without_a_window_rides_on_one_that_another_job_named() -> None:
    groups = coalesce(["m:1 num_ctx=8192", "m:1 num_ctx>=4096"])

    assert groups == [Group("m:1 num_ctx=8192", ("m:1 num_ctx=8192", "m:1 num_ctx>=4096"))]


def test_a_window_that_another_host_holds_is_taken_over() -> None:
    groups = coalesce(["m:1 num_ctx>=4096"], elsewhere=["m:1 num_ctx=8192"])

    assert [group.runner_key for group in groups] == ["m:1 num_ctx=8192"]


def test_other_options_are_another_runner() -> None:
    groups = coalesce(["m:1 num_ctx>=4096", "m:1 num_ctx>=4096 num_gpu=0"])

    assert len(groups) == 2


def test_a_larger_window_that_does_not_load_is_not_tried_for_the_smaller_ones() -> None:
    groups = coalesce(["m:1 num_ctx>=4096", "m:1 num_ctx>=8192"], blocked=["m:1 num_ctx=8192"])

    assert [group.runner_key for group in groups] == ["m:1 num_ctx=4096", "m:1 num_ctx=8192"]


def test_two_names_of_one_model_s_weights_share_its_runner() -> None:
    queued = ["mine:1 num_ctx>=4096", "theirs:1 num_ctx>=4096"]
    weights = {"mine:1": "w", "theirs:1": "w"}

    assert len(coalesce(queued)) == 2
    assert len(coalesce(queued, weights=weights)) == 1
    assert coalesce(queued[:1], resident=["theirs:1 num_ctx=4096"], weights=weights) == [
        Group("theirs:1 num_ctx=4096", ("mine:1 num_ctx>=4096",))
    ]
