"""How a URL is shown to people: without the secrets in it."""

import re

_SECRET = re.compile(r"pass|pwd|secret|token|key|auth|credential|signature|^sig$", re.IGNORECASE)
_POINTER = ("env:", "file:")
"""A value that says where a secret stands is no secret."""
_PORT = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::\d*)?")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


def masked(url: str) -> str:
    """``url`` without its password, its token and the secrets of its query; anything that is no URL as it is.

    A SQLite file is a path and holds no secret. A URL whose host cannot be told from a password is masked whole.

    >>> masked("smtp://u:p@mail/?from=a@b.c&password=env:PW")
    'smtp://u:***@mail/?from=a@b.c&password=env:PW'
    >>> masked("postgresql://me:a@b@db,db2:5433/caravan?sslpassword=x&sslmode=require")
    'postgresql://me:***@db,db2:5433/caravan?sslpassword=***&sslmode=require'
    >>> masked("redis://:p/w@h"), masked("sqlite:////tmp/a:b@c/x.db"), masked("https://token@hub/x")
    ('redis://***', 'sqlite:////tmp/a:b@c/x.db', 'https://***@hub/x')
    """
    return ";".join(_masked(each) for each in re.split(r";(?=[A-Za-z][A-Za-z0-9+.-]*://)", url))


def masked_whole(url: str) -> str:
    """``url`` where its path is a secret too, as of services that are pinged: scheme and host are left.

    >>> masked_whole("https://hc-ping.com/0d5a-secret"), masked_whole("")
    ('https://hc-ping.com/***', '')
    """
    scheme, separator, rest = _masked(url).partition("://")
    if not separator:
        return url and "***"
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.partition('?')[0]}{slash}{'***' if path else ''}"


def _masked(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme) or scheme.lower().startswith("sqlite"):
        return url
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    after = rest[len(authority) :]
    credentials, at, place = authority.rpartition("@")
    path, _, fragment = after.partition("#")
    path, question, query = path.partition("?")
    if not all(_PORT.fullmatch(each) for each in place.split(",")) or "@" in fragment:
        return f"{scheme}://***"  # a character of a password has ended the host
    if not at and "@" in path and not scheme.lower().startswith("http"):
        return f"{scheme}://***"
    if at:
        user, colon, _ = credentials.partition(":")
        whole = not colon and scheme.lower().startswith("http")  # a token in the place of a user
        authority = f"{'***' if whole else user + ':***' if colon else user}@{place}"
    hidden = "&".join(_parameter(each) for each in query.split("&"))
    return f"{scheme}://{authority}{path}{question}{hidden}" + (f"#{fragment}" if fragment else "")


def _parameter(written: str) -> str:
    name, equals, value = written.partition("=")
    secret = bool(value) and _SECRET.search(name) is not None and not value.startswith(_POINTER)
    return f"{name}{equals}***" if secret else written
