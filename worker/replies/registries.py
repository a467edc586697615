"""What it means that a host could not pull, push or create a model. The texts are Ollama's and its registry's own."""

import re

from worker.records import record


@record
class Verdict:
    """What to make of a failure."""

    final: bool
    """Trying again brings nothing."""
    advice: str = ""


_TEXTS: tuple[tuple[str, Verdict], ...] = (
    (
        "no space left|disk quota|not enough (?:disk )?space",
        Verdict(
            True,
            "the disk of the host is full: free space there (caravan models rm), then pull again, which goes on from what came",
        ),
    ),
    (
        "no Location header",
        Verdict(
            True,
            "the registry sends its blobs itself, and Ollama takes them only by a redirect to another host name: "
            "put a store or a proxy that redirects before it",
        ),
    ),
    (
        "pull model manifest: file does not exist|manifest unknown",
        Verdict(True, "the registry has no such model: check the name and the tag"),
    ),
    ("manifests/.*: no such file", Verdict(True, "the host does not have the model that is to be pushed")),
    (
        "server gave HTTP response to HTTPS|does not look like a TLS handshake",
        Verdict(True, "the registry speaks http: --insecure allows it"),
    ),
    (
        "unauthorized|access denied|forbidden|must be signed in|authentication required|no such key|ssh: no key",
        Verdict(
            True,
            "the registry does not let this host in: add the host's public key (~/.ollama/id_ed25519.pub there) to the account",
        ),
    ),
    (
        "requires a newer version|not supported by your version",
        Verdict(True, "the host's Ollama is too old for this model: upgrade it"),
    ),
    ("digest mismatch", Verdict(False, "what came is damaged and is fetched again")),
    (
        "unsupported quantization|invalid model name|is invalid|neither 'from'|does not support|unknown type",
        Verdict(True),
    ),
    (
        "dial tcp|no such host|timeout|EOF|connection|max retries|TLS|reset by peer|i/o",
        Verdict(False, "the registry cannot be reached from the host"),
    ),
)


def verdict(message: str) -> Verdict:
    """What the message of a host means; one that nobody knows is tried again.

    >>> verdict("pull model manifest: file does not exist").final
    True
    >>> verdict("Get https://r.example: dial tcp: lookup r.example: no such host").final
    False
    """
    return next(
        (meaning for text, meaning in _TEXTS if re.search(text, message, re.IGNORECASE)), Verdict(False)
    )
