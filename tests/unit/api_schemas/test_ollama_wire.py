import doctest
import importlib
import json

import pytest
from pydantic import ValidationError

from api_schemas.ollama import (
    ErrorReply,
    GenerateReply,
    GenerateRequest,
    PsReply,
    PullProgress,
    ShowReply,
    TagsReply,
    VersionReply,
)

FINAL = (
    '{"model":"m","created_at":"2026-01-02T03:04:05.123456789Z","response":"hi","thinking":"t","done":true,'
    '"done_reason":"stop","context":[1],"total_duration":1,"load_duration":2,"prompt_eval_count":3,'
    '"prompt_eval_duration":4,"eval_count":5,"eval_duration":6,"something_new":{}}'
)


def test_a_final_record_is_read_whole_and_what_is_new_is_ignored() -> None:
    reply = GenerateReply.model_validate_json(FINAL)

    expected = json.loads(FINAL)
    del expected["something_new"]
    assert reply.model_dump(exclude_defaults=True) == expected


def test_a_chunk_has_zeros_for_what_a_server_leaves_out() -> None:
    reply = GenerateReply.model_validate_json('{"model":"m","created_at":"…Z","response":"hi","done":false}')

    assert (reply.done, reply.done_reason, reply.context, reply.eval_count) == (
        False,
        None,
        None,
        0,
    )


def test_a_stream_that_fails_late_ends_with_an_error_line() -> None:
    line = '{"error":"an error was encountered while running the model: unexpected EOF"}'

    assert ErrorReply.model_validate_json(line).error.endswith("unexpected EOF")
    with pytest.raises(ValidationError):
        ErrorReply.model_validate_json('{"response":"x","done":false}')


def test_a_request_takes_every_field_of_a_server_and_no_other() -> None:
    request = GenerateRequest.model_validate_json(
        '{"model":"m","prompt":"","stream":false,"_debug_render_only":true,"width":1,"height":1,"steps":1,'
        '"keep_alive":-1,"think":"max","format":"json","options":{"min_p":0.1}}'
    )

    assert request.debug_render_only is True
    assert request.options is not None
    assert request.options.min_p == 0.1
    with pytest.raises(ValidationError):
        GenerateRequest.model_validate_json('{"model":"m","strem":false}')


def test_what_hosts_say_about_their_models_is_read_from_older_and_newer_servers() -> None:
    older = TagsReply.model_validate_json(
        '{"models":[{"name":"slow:latest","model":"slow:latest","modified_at":"2026-11-23T04:02:52.344313465Z",'
        '"size":202010681,"digest":"bdbea776","details":{"parent_model":"","format":"gguf","family":"llama",'
        '"families":null,"parameter_size":"100.97M","quantization_level":"F16"}}]}'
    )
    newer = TagsReply.model_validate_json(
        '{"models":[{"name":"slow:latest","details":{"context_length":8192,"embedding_length":512},'
        '"capabilities":["completion"]}]}'
    )

    assert older.models[0].details.families == []
    assert older.models[0].capabilities == []
    assert newer.models[0].details.context_length == 8192
    assert newer.models[0].capabilities == ["completion"]


def test_a_host_with_nothing_loaded_has_no_models() -> None:
    assert PsReply.model_validate_json('{"models":[]}').models == []
    assert PsReply.model_validate_json('{"models":null}').models == []


def test_a_loaded_model_tells_its_real_window() -> None:
    reply = PsReply.model_validate_json(
        '{"models":[{"name":"plain:latest","model":"plain:latest","size":22836224,"digest":"a0ce51ad","details":{},'
        '"expires_at":"2026-11-23T04:34:21.689878038Z","size_vram":0,"context_length":4096}]}'
    )

    assert (reply.models[0].name, reply.models[0].context_length) == (
        "plain:latest",
        4096,
    )


def test_show_tells_the_trained_window_and_the_parameters() -> None:
    reply = ShowReply.model_validate_json(
        '{"parameters":"temperature                    0\\nnum_ctx                        4096\\n'
        'stop                           \\"<|end|>\\"","capabilities":["completion","thinking"],'
        '"model_info":{"general.architecture":"llama","llama.context_length":8192}}'
    )

    assert reply.trained_context == 8192
    assert reply.parameter_values == {
        "temperature": "0",
        "num_ctx": "4096",
        "stop": '"<|end|>"',
    }
    assert ShowReply().trained_context is None


def test_version_and_progress_of_a_pull_are_read() -> None:
    progress = PullProgress.model_validate_json(
        '{"status":"pulling 2af3b81862c6","digest":"sha256:2af3","total":100}'
    )

    assert VersionReply.model_validate_json('{"version":"0.24.0"}').version == "0.24.0"
    assert (progress.total, progress.completed, progress.error) == (100, None, None)


@pytest.mark.parametrize(
    "module",
    [
        "durations",
        "formats",
        "hosts",
        "job_line",
        "job_problems",
        "keep_alive",
        "options",
    ],
)
def test_the_examples_in_the_code_are_true(module: str) -> None:
    assert doctest.testmod(importlib.import_module(f"api_schemas.{module}")).failed == 0
