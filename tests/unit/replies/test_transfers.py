"""Lines of progress of a pull, and what the words of a registry mean."""

import json
from typing import Any

import pytest

from worker.errors import Code, HostError
from worker.replies.registries import verdict
from worker.replies.transfers import Transfer, TransferReader


def heard(*lines: Any, pieces: int = 7) -> tuple[list[Transfer], Transfer]:
    """What a reader tells of these lines, cut into pieces, and its reply."""
    told: list[Transfer] = []
    reader = TransferReader(told.append)
    data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    for start in range(0, len(data), pieces):
        reply = reader.feed(data[start : start + pieces])
        if reply is not None:
            return told, reply
    return told, reader.end()


def test_the_bytes_of_all_layers_are_added_up() -> None:
    told, reply = heard(
        {"status": "pulling manifest"},
        {"status": "pulling aa", "digest": "sha256:aa", "total": 100, "completed": 40},
        {"status": "pulling bb", "digest": "sha256:bb", "total": 10},
        {"status": "pulling aa", "digest": "sha256:aa", "total": 100, "completed": 100},
        {"status": "success"},
    )

    assert [(transfer.completed, transfer.total) for transfer in told] == [
        (0, 0),
        (40, 100),
        (40, 110),
        (100, 110),
        (100, 110),
    ]
    assert reply.step == "success"


def test_an_error_line_in_a_successful_stream_is_an_error() -> None:
    with pytest.raises(HostError, match="file does not exist"):
        heard({"status": "pulling manifest"}, {"error": "pull model manifest: file does not exist"})


def test_a_stream_that_ends_before_success_is_cut() -> None:
    with pytest.raises(HostError, match="before it was complete, at pulling aa") as raised:
        heard({"status": "pulling aa", "digest": "sha256:aa", "total": 100, "completed": 40})

    assert raised.value.code is Code.REPLY_CUT


def test_numbers_that_are_none_count_for_nothing() -> None:
    told, _ = heard(
        {"status": 7, "digest": "sha256:aa", "total": -1, "completed": "much"}, {"status": "success"}
    )

    assert told[0] == Transfer("7", 0, 0)


@pytest.mark.parametrize(
    ("text", "final", "advice"),
    [
        ("http: no Location header in response", True, "by a redirect to another host name"),
        ("pull model manifest: file does not exist", True, "has no such model"),
        ("write /models/blobs/sha256-1-partial-0: no space left on device", True, "disk of the host is full"),
        ('Head "https://r": tls: first record does not look like a TLS handshake', True, "--insecure"),
        ("open /models/manifests/r/team/nope/latest: no such file or directory", True, "to be pushed"),
        ("unauthorized: access denied", True, "public key"),
        ('Get "https://r/v2/": dial tcp: lookup r: no such host', False, "cannot be reached from the host"),
        ("max retries exceeded: unexpected EOF", False, "cannot be reached from the host"),
        ("something that nobody has seen", False, ""),
    ],
)
def test_what_a_registry_says_is_known_to_be_final_or_not(text: str, final: bool, advice: str) -> None:
    found = verdict(text)

    assert found.final is final
    assert advice in found.advice
