"""``caravan models``: what it says of the models of the fleet, and what it refuses."""

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from worker.cli.model_work import drifting
from worker.cli.models import models
from worker.cli.settings import opened, settings_for
from worker.domain.hosts import Host, HostModel
from worker.domain.model_operations import ModelOperation, ModelPart, ModelVerb, PartState
from worker.errors import CaravanError, InputRefused, NotFound, SettingsRefused
from worker.hosts.models import begin, model_name
from worker.storage.hosts import add_host, record_probe, record_residents
from worker.storage.model_operations import keep_part

NOW = datetime(2026, 12, 1, 8, 0, tzinfo=UTC)


def qwen(digest: str) -> HostModel:
    return HostModel(
        "qwen3:8b",
        digest,
        True,
        40_960,
        size=5_200_000_000,
        quantization="Q4_K_M",
        parameters="8.2B",
        capabilities=("completion", "tools", "thinking"),
    )


@pytest.fixture
def fleet() -> None:
    """Three hosts with a model of one name; on the last of them it is another one. The first has it loaded."""
    with opened(settings_for()) as database, database.write() as conn:
        for name, digest in (("gpu-1", "aaaa"), ("gpu-2", "aaaa"), ("gpu-3", "bbbb")):
            add_host(conn, Host(name, f"http://{name}:11434"), now=NOW)
            record_probe(conn, name, version="0.24.0", models=[qwen(digest * 16)], now=NOW)
        record_residents(conn, "gpu-1", {"qwen3:8b num_ctx=8192": None}, None, now=NOW)


def said_by(*arguments: str) -> str:
    result = CliRunner().invoke(models, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*arguments: str) -> CaravanError:
    result = CliRunner().invoke(models, arguments)
    assert isinstance(result.exception, CaravanError), result.output
    return result.exception


@pytest.mark.usefixtures("fleet")
def test_a_name_that_stands_for_different_weights_is_marked_and_says_on_which_hosts() -> None:
    result = CliRunner().invoke(models, ["list"], catch_exceptions=False)

    assert "aaaaaaaaaaaa !" in result.stdout
    assert "bbbbbbbbbbbb !" in result.stdout
    assert "gpu-1 (loaded), gpu-2" in result.stdout
    assert "40,960" in result.stdout
    assert "has different weights: aaaaaaaaaaaa on gpu-1, gpu-2; bbbbbbbbbbbb on gpu-3" in result.output


@pytest.mark.usefixtures("fleet")
def test_the_json_has_one_object_for_each_model_with_the_digest_on_each_host() -> None:
    (model,) = json.loads(said_by("list", "--json"))
    (same,) = json.loads(said_by("list", "--host", "gpu-1", "--host", "gpu-2", "--json"))

    assert (model["drift"], model["digest"]) == (True, None)
    assert (same["drift"], same["digest"]) == (False, "aaaa" * 16)
    assert model["capabilities"] == ["completion", "tools", "thinking"]
    assert (model["quantization"], model["context_length"]) == ("Q4_K_M", 40960)
    assert [(host["host"], host["loaded"]) for host in model["hosts"]] == [
        ("gpu-1", True),
        ("gpu-2", False),
        ("gpu-3", False),
    ]


def test_a_database_without_hosts_says_how_to_add_one() -> None:
    assert said_by() == said_by("list") == "no hosts yet: caravan hosts add NAME URL\n"
    assert said_by("--json") == "[]\n"
    assert said_by("operations") == "there are no operations on models yet\n"


@pytest.mark.usefixtures("fleet")
def test_an_operation_says_how_far_each_host_has_come_and_what_it_waits_for() -> None:
    with opened(settings_for()) as database:
        pull = begin(
            database,
            ModelVerb.PULL,
            ["llama3.2:3b"],
            ["gpu-1", "gpu-2"],
            arguments={},
            clock=database.clock(),
        )
        with database.write() as conn:
            working = ModelPart(
                *(pull.id, ModelVerb.PULL, "gpu-1", "llama3.2:3b"),
                state=PartState.WORKING,
                completed=500_000_000,
                total=2_000_000_000,
            )
            keep_part(conn, working, now=NOW)

    shown, (plain,) = said_by("operations"), json.loads(said_by("operations", "--json"))
    cancelled = said_by("cancel", str(pull.id))

    assert "pull llama3.2:3b: open, 0 of 2" in shown
    assert "llama3.2:3b on gpu-1: 25 % of 2.0 GB" in shown
    assert "llama3.2:3b on gpu-2: waits for whoever serves it" in shown
    assert (plain["state"], plain["parts"][0]["completed"]) == ("open", 500_000_000)
    assert cancelled == f"operation {pull.id}: 2 cancelled\n"


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (["rm", "nope:1b", "--no-wait"], NotFound, "no host has nope:1b (looked at: gpu-1, gpu-2, gpu-3)"),
        (["list", "--host", "gpu-9"], SettingsRefused, "no host 'gpu-9'; the hosts are gpu-1, gpu-2, gpu-3"),
        (["push", "qwen3:8b"], SettingsRefused, "names neither a registry nor an account"),
        (["pull", "two words"], SettingsRefused, "is not the name of a model"),
        (
            ["create", "a:1", "--from", "qwen3:8b", "--param", "num_ctxx=1"],
            InputRefused,
            "did you mean 'num_ctx'?",
        ),
        (["cancel", "77"], NotFound, "no operation 77 on models"),
        (["operations", "77"], NotFound, "no operation 77 on models"),
        (
            ["pull", "a:1", "--host", "http://127.0.0.1:9", "--no-wait"],
            SettingsRefused,
            "does not know",
        ),
    ],
)
def test_what_cannot_be_done_says_what_was_expected(
    arguments: list[str], error: type[CaravanError], says: str
) -> None:
    refused = refusal(*arguments)

    assert isinstance(refused, error)
    assert says in str(refused)


@pytest.mark.parametrize("name", ["", "a b", "Ω:1", "a;b", "x" * 700])
def test_what_no_host_takes_for_a_name_is_refused(name: str) -> None:
    with pytest.raises(SettingsRefused, match="is not the name of a model"):
        model_name(name)


def test_an_operation_after_which_hosts_differ_names_the_models() -> None:
    done = [
        ModelPart(1, ModelVerb.PULL, host, model, state=PartState.DONE, digest=digest)
        for host, model, digest in (
            ("gpu-1", "a:1", "x"),
            ("gpu-2", "a:1", "y"),
            ("gpu-1", "b:1", "z"),
            ("gpu-2", "b:1", "z"),
        )
    ]

    assert drifting(ModelOperation(1, ModelVerb.PULL, NOW, parts=tuple(done))) == ["a:1"]
