"""Requests written for ``POST /api/generate``, as a tutorial has them, are job lines as they stand, and get the same reply."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import simulator
from tests.acceptance.conftest import caravan

BLOCKS = Path(__file__).parents[1] / "data" / "tutorial_payloads.py.txt"


def payloads() -> list[dict[str, Any]]:
    blocks = re.findall(
        r"^generate_payload = (\{\n.*?^\})", BLOCKS.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return [ast.literal_eval(block) for block in blocks]


@pytest.fixture
def host() -> Iterator[simulator.RunningHost]:
    models = [
        simulator.SimulatedModel(name, thinking="inline") for name in ("deepseek-r1:7b", "deepseek-r1:32b")
    ]
    with simulator.running(
        simulator.HostSettings(name="gpu-1", models=tuple(models), time_scale=0.002)
    ) as running:
        yield running[0]


def test_each_request_gets_field_by_field_what_the_host_replies_to_it_directly(
    environment: dict[str, str], host: simulator.RunningHost, tmp_path: Path
) -> None:
    tutorial = payloads()
    assert len(tutorial) == 4
    path, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_text("".join(json.dumps(payload, ensure_ascii=False) + "\n" for payload in tutorial))

    done = caravan("run", str(path), "--host", host.url, "-o", str(out), env=environment)

    assert done.stderr.count("stream has no effect") == 1
    for payload, text in zip(tutorial, out.read_text().splitlines(), strict=True):
        line = json.loads(text)
        direct = requests.post(
            f"{host.url}/api/generate", json=payload | {"stream": False}, timeout=60
        ).json()
        reply = re.fullmatch(
            r"(?:<think>(?P<reasoning>.*?)(?:</think>|\Z))?(?P<answer>.*)", direct["response"], re.DOTALL
        )
        assert reply is not None
        assert line["state"] == "succeeded", line
        assert {
            "model": line["model"],
            "reasoning": (line["reasoning"] or "").strip(),
            "answer": (line["answer"] or "").strip(),
            "done_reason": line["done_reason"],
            "prompt_eval_count": line["prompt_tokens"],
            "eval_count": line["output_tokens"],
        } == {
            "model": direct["model"],
            "reasoning": (direct.get("thinking") or reply["reasoning"] or "").strip(),
            "answer": reply["answer"].strip(),
            "done_reason": direct["done_reason"],
            "prompt_eval_count": direct["prompt_eval_count"],
            "eval_count": direct["eval_count"],
        }
