"""Whether the model saw the whole prompt.

A server that cuts a prompt does not say so, but it can be seen: ``prompt_eval_count`` is what was kept, while
``context`` holds the tokens of the whole prompt and of the answer. Of an uncut reply ``context`` has up to
two less than the counts together (start and end token). But it is made by reading the generated text again,
which may take other tokens than the model took: a DeepSeek-R1 that says "\\n\\n" in one token has it in two
there, 11 more in 289.

A count alone proves little. Older servers leave out of it what their prefix cache held, and one that was cut to the
window equals the window.
"""

import re
from collections.abc import Mapping
from typing import Any

from worker.domain.replies import PromptFit, Reply

_SLACK = 16
_PIECE = re.compile(r"[^\W_]\w{0,15}|_\w*|[^\w\s]+")
"""A word of up to 16 letters, or a run of signs. No vocabulary has many words that are longer, and Chinese, Japanese and
Korean have no spaces between words."""


def prompt_fit(
    *,
    context_tokens: int | None,
    prompt_tokens: int,
    output_tokens: int,
    guarded: bool,
    window: int | None = None,
    least_tokens: int = 0,
) -> PromptFit:
    """``no`` where the counts show a cut, ``yes`` where they agree or the guard held, else ``unknown``.

    ``guarded``: the request had ``truncate:false``, so that a prompt which does not fit would have been
    refused. The counts win over it, since a server older than ``truncate`` ignores it. ``window`` is the context length
    that the prompt was read in, ``least_tokens`` what the prompt has at least (``least_tokens_of``).

    ``unknown`` is a count that is missing, as large as the window, or too small for the text; a surplus of the context
    that fits the window, which is what a prefix cache of an older server leaves out; and without the guard a reply
    without ``context`` (raw), or one whose surplus might be a small cut as well as another reading of the text (up to a
    quarter of the answer's tokens, and 16).

    >>> prompt_fit(context_tokens=4415, prompt_tokens=256, output_tokens=13, guarded=False)
    'no'
    >>> prompt_fit(context_tokens=17, prompt_tokens=6, output_tokens=13, guarded=False)
    'yes'
    """
    if not prompt_tokens:
        return "unknown"
    slack = _SLACK + output_tokens // 4
    whole = context_tokens - output_tokens if context_tokens else None
    if whole is not None and whole > prompt_tokens + slack:
        fits = window is not None and whole <= window and not _is_window(prompt_tokens)
        return "unknown" if fits else "no"
    if window is not None and prompt_tokens >= window:
        return "unknown"
    if 4 * (prompt_tokens + _SLACK) < 3 * least_tokens:
        return "unknown"
    if whole is not None and whole <= prompt_tokens:
        return "yes"
    return "yes" if guarded else "unknown"


def fit_of(reply: Reply, body: Mapping[str, Any], window: int | None) -> PromptFit:
    """The same of a reply to ``body``."""
    return prompt_fit(
        context_tokens=None if reply.context is None else len(reply.context),
        prompt_tokens=reply.prompt_eval_count,
        output_tokens=reply.eval_count,
        guarded=body.get("truncate") is False,
        window=window,
        least_tokens=least_tokens_of(body),
    )


def least_tokens_of(body: Mapping[str, Any]) -> int:
    """Tokens that the texts of a request have at least: one for each word and each run of signs.

    >>> least_tokens_of({"prompt": "Is the sea salty?", "system": "Be brief."})
    8
    """
    texts = [body.get(name) for name in ("prompt", "system", "suffix")]
    texts += [message.get("content") for message in body.get("messages", ())]
    return sum(len(_PIECE.findall(str(text))) for text in texts if text)


def _is_window(tokens: int) -> bool:
    """A power of two, as windows are: a count that is one by chance is rare."""
    return tokens >= 128 and tokens & (tokens - 1) == 0
