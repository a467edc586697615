"""The image and the compose file: pinned, of one version with the package, and telling commands that exist."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from tests.repo.docs.commands import check_command
from worker.cli.main import app
from worker.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
CARAVAN = typer.main.get_command(app)
ONE_SHOT = {"migrate", "hosts", "caravan"}
"""Services that end when they have done their work."""


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _version() -> str:
    return str(tomllib.loads(_text("pyproject.toml"))["project"]["version"])


def _services() -> dict[str, str]:
    """The text of each service, by name."""
    block = _text("compose.yaml").partition("\nservices:\n")[2].partition("\nvolumes:\n")[0]
    parts = re.split(r"^  ([a-z0-9-]+):\n", block, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_image_is_pinned_to_a_version() -> None:
    images = re.findall(r"^ +image: (\S+)$", _text("compose.yaml"), flags=re.MULTILINE)
    bases = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", _text("Dockerfile"), flags=re.MULTILINE)

    assert images
    assert bases
    for image in (*images, *bases):
        assert re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?(-[a-z-]+)?", image), image


def test_our_own_image_has_the_version_of_the_package() -> None:
    assert f"image: caravan:{_version()}\n" in _text("compose.yaml")
    assert f"caravan:{_version()} " in _text("Dockerfile")


def test_the_image_and_the_makefile_install_by_the_same_uv() -> None:
    [ours] = re.findall(r"^UV_VERSION := (\S+)$", _text("Makefile"), flags=re.MULTILINE)

    assert f"uv=={ours}\n" in _text("Dockerfile")


def test_what_the_image_copies_is_let_through() -> None:
    copied = {
        source
        for words in re.findall(r"^COPY (?!--from)(.*)$", _text("Dockerfile"), flags=re.MULTILINE)
        for source in words.split()[:-1]
    }
    let_through = {line[1:] for line in _text(".dockerignore").splitlines() if line.startswith("!")}

    assert copied == let_through
    assert all((ROOT / source).exists() for source in copied)


def test_every_process_that_stays_has_a_health_check_and_comes_back() -> None:
    merged = _text("compose.yaml").partition("x-process")[2].partition("\nservices:\n")[0]
    assert "healthcheck:" in merged
    assert "restart: unless-stopped" in merged

    for name, service in _services().items():
        if name not in ONE_SHOT and not re.search(r"<<: \*(process|worker)\b", service):
            assert "healthcheck:" in service, name
            assert "restart: unless-stopped" in service, name


def test_every_command_of_the_compose_file_is_one_of_ours() -> None:
    commands = {
        name: [word.strip(' "') for word in told.group(1).split(",")]
        for name, service in _services().items()
        if "<<:" in service and (told := re.search(r"^    command: \[(.*)\]$", service, flags=re.MULTILINE))
    }

    assert {"migrate", "beat", "control", "worker-gpu-1", "worker-gpu-2", "simulator"} <= set(commands)
    for words in commands.values():
        check_command(CARAVAN, words)


def test_the_hosts_are_named_as_their_workers_are() -> None:
    services = _services()
    added = re.findall(r"caravan (hosts add (\S+) .*)", services["hosts"])

    assert [name for _, name in added] == ["gpu-1", "gpu-2"]
    for words, name in added:
        assert words.endswith(" --if-missing"), "starting the fleet again would undo caravan hosts set"
        check_command(CARAVAN, re.sub(r'"\$\$\w+_SLOTS"', "1", words).replace('"', "").split())
        assert f"--host, {name}]" in services[f"worker-{name}"]


def test_every_setting_of_the_compose_file_exists() -> None:
    names = set(re.findall(rf"^ +{PREFIX}(\w+):", _text("compose.yaml"), flags=re.MULTILINE))

    assert names
    assert {name.lower() for name in names} <= set(Settings.model_fields)


def test_control_sees_the_same_folder_as_commands_do() -> None:
    services = yaml.safe_load(_text("compose.yaml"))["services"]

    # control reads the documents of schedules that a command has added
    assert services["control"]["volumes"] == services["caravan"]["volumes"] == ["${FOLDER:-.}:/work"]


def _compose() -> list[str] | None:
    docker = shutil.which("docker")
    if docker is None:
        return None
    found = subprocess.run([docker, "compose", "version"], capture_output=True, check=False)
    return [docker, "compose"] if found.returncode == 0 else None


@pytest.mark.skipif(_compose() is None, reason="docker compose is not installed")
def test_compose_reads_the_file() -> None:
    compose = _compose()
    assert compose is not None

    done = subprocess.run(
        [*compose, "--file", "compose.yaml", "--profile", "simulated", "config", "--format", "json"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    read: dict[str, Any] = json.loads(done.stdout)

    assert set(read["services"]) == set(_services()) - {"caravan"}
    [folder] = read["services"]["control"]["volumes"]
    assert (folder["type"], folder["source"], folder["target"]) == ("bind", str(ROOT), "/work")
