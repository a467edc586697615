"""What the host's nanoseconds are in seconds, and how fast it was."""


def seconds(nanoseconds: int) -> float:
    """Nanoseconds in seconds.

    >>> seconds(10_020_507_026)
    10.020507026
    """
    return nanoseconds / 1_000_000_000


def tokens_per_second(tokens: int, nanoseconds: int) -> float | None:
    """Tokens by time; None where the host sent no time (zeros are left out of a reply).

    Of a prompt it says little: the tokens count the whole prompt, the time only what no prefix cache held.

    >>> tokens_per_second(306, 10_138_000_000)
    30.18346813967252
    >>> tokens_per_second(306, 0)
    """
    if nanoseconds <= 0:
        return None
    return tokens / nanoseconds * 10**9
