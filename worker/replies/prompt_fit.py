"""Whether the model saw the whole prompt.

A server that cuts a prompt says nothing, but it can be seen: ``prompt_eval_count`` is what was kept, while
``context`` holds the tokens of the whole prompt and of the answer. Of an uncut reply ``context`` has up to
two less than the counts together (start and end token). But it is made by reading the generated text again,
which may take other tokens than the model took: a DeepSeek-R1 that says "\\n\\n" in one token has it in two
there, 11 more in 289.
"""

from worker.domain.replies import PromptFit


def prompt_fit(
    *, context_tokens: int | None, prompt_tokens: int, output_tokens: int, guarded: bool
) -> PromptFit:
    """``no`` where the counts show a cut, ``yes`` where they agree or the guard held, else ``unknown``.

    ``guarded``: the request had ``truncate:false``, so that a prompt which does not fit would have been
    refused. The counts win over it, since a server too old for ``truncate`` ignores it. Without the guard
    ``unknown`` is a reply without ``context`` (raw), and one whose surplus might be a small cut as well as
    another reading of the text (up to a quarter of the answer's tokens, and 16).

    >>> prompt_fit(context_tokens=4415, prompt_tokens=256, output_tokens=13, guarded=False)
    'no'
    >>> prompt_fit(context_tokens=17, prompt_tokens=6, output_tokens=13, guarded=False)
    'yes'
    """
    if context_tokens and prompt_tokens:
        surplus = context_tokens - prompt_tokens - output_tokens
        if surplus > 16 + output_tokens // 4:
            return "no"
        if surplus <= 0:
            return "yes"
    return "yes" if guarded else "unknown"
