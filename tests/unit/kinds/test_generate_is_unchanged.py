"""What a database holds of jobs and what a host is sent for them: digests, keys and bytes that were stored before there
were kinds have to come out the same for ever."""

import json

import pytest

from api_schemas.jobs import ParsedLine, read_job_line
from worker.domain.hosts import HostModel
from worker.domain.jobs import NewJob, Priority
from worker.kinds.generate.request import wire_request
from worker.kinds.registry import kind_of, shapes

_DIGEST = "a" * 64
_PLAIN = '{"prompt":"What colour is the sky?","model":"Qwen3"}'
_OPTIONS = (
    '{"model":"qwen3:8b","prompt":"Nenne einen Fluß.","system":"Kurz.","options":{"temperature":0.0,"seed":7,'
    '"num_ctx":8192,"stop":["\\n"]},"think":false,"keep_alive":"10m","custom_id":"r1","metadata":{"a":1}}'
)
_FORMAT = (
    '{"model":"qwen3:8b","prompt":"Say {\\"n\\": 7}","format":{"type":"object","properties":{"n":{"type":"integer"}}},'
    '"repairs":1,"think":true,"logprobs":true,"top_logprobs":2}'
)
_RAW = (
    '{"model":"m:1","prompt":"x","raw":true,"truncate":true,"shift":true,"allow_empty":true,"images":["aGVsbG8="],'
    '"suffix":"end"}'
)
_CONTEXT = (
    f'{{"model":"m:1","prompt":"on","context":[1,2,3],"context_digest":"{_DIGEST}",'
    '"options":{"num_predict":-1,"num_gpu":2}}'
)
STORED = [
    pytest.param(
        _PLAIN,
        "qwen3:latest num_ctx>=12288",
        "b5cadd19356e3c05fa05db047b536bfd",
        "03df4b5c0f4716f85dd16f506d008c61",
        "{}",
        '{"model": "Qwen3", "prompt": "What colour is the sky?", "truncate": false, "shift": false, "think": true, '
        '"options": {"num_ctx": 4096, "num_predict": 8192}, "stream": true}',
        (72, 8192),
        id="plain",
    ),
    pytest.param(
        _OPTIONS,
        "qwen3:8b num_ctx=8192",
        "8a8c65083a704fb087e4609774c4b8e0",
        "be57614769b6db04ff47e21b31890e96",
        '{"system": "Kurz.", "options": {"num_ctx": 8192, "seed": 7, "temperature": 0.0, "stop": ["\\n"]}, '
        '"think": false, "keep_alive": "10m"}',
        '{"model": "qwen3:8b", "prompt": "Nenne einen Flu\\u00df.", "system": "Kurz.", "options": {"num_ctx": 8192, '
        '"seed": 7, "temperature": 0.0, "stop": ["\\n"], "num_predict": 2048}, "think": false, "truncate": false, '
        '"shift": false, "stream": true}',
        (72, 2048),
        id="options",
    ),
    pytest.param(
        _FORMAT,
        "qwen3:8b num_ctx>=12288",
        "973c491311377ef3ea8c3bfe048a11dd",
        "cc418589f9790242e720a50be8e68696",
        '{"format": {"type": "object", "properties": {"n": {"type": "integer"}}}, "think": true, "logprobs": true, '
        '"top_logprobs": 2, "repairs": 1}',
        '{"model": "qwen3:8b", "prompt": "Say {\\"n\\": 7}", "format": {"type": "object", "properties": {"n": {"type": '
        '"integer"}}}, "think": true, "logprobs": true, "top_logprobs": 2, "truncate": false, "shift": false, '
        '"options": {"num_ctx": 4096, "num_predict": 8192}, "stream": true}',
        (132, 8192),
        id="format",
    ),
    pytest.param(
        _RAW,
        "m:1 num_ctx>=12288 shift=true",
        "2d2374138ef376073b1f8d2a288959a9",
        "3aa6dbda857da3c0bc2adacf8435ef16",
        '{"suffix": "end", "images": ["aGVsbG8="], "raw": true, "truncate": true, "shift": true, "allow_empty": true}',
        '{"model": "m:1", "prompt": "x", "suffix": "end", "images": ["aGVsbG8="], "raw": true, "truncate": true, '
        '"shift": true, "think": true, "options": {"num_ctx": 4096, "num_predict": 8192}, "stream": true}',
        (1090, 8192),
        id="raw",
    ),
    pytest.param(
        _CONTEXT,
        "m:1 num_ctx>=12288 num_gpu=2",
        "61bb6874c8b4619486b24306f27873ce",
        "5e2047cf7daa41edab6d9e11d1eb0489",
        f'{{"context": [1, 2, 3], "options": {{"num_gpu": 2, "num_predict": -1}}, "context_digest": "{_DIGEST}"}}',
        '{"model": "m:1", "prompt": "on", "context": [1, 2, 3], "options": {"num_gpu": 2, "num_predict": 4096, '
        '"num_ctx": 4096}, "truncate": false, "shift": false, "think": true, "stream": true}',
        (68, 8192),
        id="context",
    ),
]


@pytest.mark.parametrize(("line", "key", "digest", "reuse", "request_text", "body", "tokens"), STORED)
def test_a_job_is_stored_and_sent_as_it_was_before_there_were_kinds(
    line: str, key: str, digest: str, reuse: str, request_text: str, body: str, tokens: tuple[int, int]
) -> None:
    parsed = read_job_line(line, line=1, shapes=shapes())
    assert isinstance(parsed, ParsedLine)
    kind = kind_of(parsed.kind)
    window = kind.window(parsed.prompt, parsed.request, thinking=True, trained=131_072)
    runner_key = kind.runner_key(parsed.model, parsed.request, window=window).text
    job = NewJob(
        1, parsed.custom_id, parsed.model, runner_key, Priority.NORMAL, parsed.prompt, parsed.request
    )
    host_model = HostModel(parsed.model, _DIGEST, thinking=True, trained_context=131_072)
    sent = wire_request(parsed.model, parsed.prompt, parsed.request, host_model, window=4096, num_ctx=4096)
    expected = kind.expected(parsed.prompt, parsed.request, thinking=True)

    assert kind.name == job.kind == "generate"
    assert runner_key == key
    assert kind.digest(job).hex() == digest
    assert kind.reuse_key(runner_key, parsed.prompt, parsed.request).hex() == reuse
    assert json.dumps(parsed.request) == request_text
    assert json.dumps({**sent, "stream": True}, allow_nan=False) == body
    assert (expected.prompt, expected.answer) == tokens
