"""What does a host want to see before it answers? References to secrets → the headers of a session.

A value is read here, when a session opens, and goes nowhere but into the session: it is never logged, stored or shown.
"""

import base64
import os
import ssl
import stat
from dataclasses import field
from pathlib import Path

from worker.domain.hosts import Access
from worker.errors import SettingsRefused
from worker.observability.events import emit
from worker.records import record

_MOST_BYTES = 64 * 1024
_HIDDEN = "***"
_SHORTEST = 4
"""A shorter secret is not looked for in messages: it would replace ordinary words."""


@record
class Credentials:
    """What a session sends with every request. The values do not show where it is printed."""

    headers: dict[str, str] = field(default_factory=dict, repr=False)
    verify: bool | str = True
    """The file of the authorities that are trusted, or the usual ones."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Every form in which a host could echo a value."""

    def hidden(self, text: str) -> str:
        """``text`` without any secret."""
        for secret in self.secrets:
            text = text.replace(secret, _HIDDEN)
        return text


def resolve(access: Access, *, url_auth: tuple[str, str] | None = None) -> Credentials:
    """Look up what ``access`` refers to. ``url_auth``: user and password that stood within the URL.

    Raises SettingsRefused that names the reference, never the value.
    """
    headers: dict[str, str] = {}
    secrets: set[str] = set()
    if access.basic_auth is not None:
        value = resolved(access.basic_auth)
        user, colon, password = value.partition(":")
        if not colon:
            raise SettingsRefused(f"{access.basic_auth} does not hold USER:PASSWORD")
        url_auth = (user, password)
    if url_auth is not None:
        encoded = base64.b64encode(":".join(url_auth).encode()).decode()
        headers["Authorization"] = f"Basic {encoded}"
        secrets |= {":".join(url_auth), url_auth[1], encoded}
    if access.bearer is not None:
        value = _for_header(access.bearer)
        headers["Authorization"] = f"Bearer {value}"
        secrets.add(value)
    for name, reference in access.headers:
        headers[name] = _for_header(reference)
        secrets.add(headers[name])
    longest_first = sorted((secret for secret in secrets if len(secret) >= _SHORTEST), key=len, reverse=True)
    return Credentials(headers, _trusted(access.ca_file), tuple(longest_first))


def resolved(reference: str) -> str:
    """The value that ``env:NAME`` or ``file:PATH`` refers to, without a newline at its end. Raises SettingsRefused."""
    kind, _, place = reference.partition(":")
    match kind:
        case "env":
            value = os.environ.get(place)  # noqa: TID251 - the variable is the user's, not a setting
            if value is None:
                raise SettingsRefused(f"{reference}: that variable is not set here")
        case _:
            value = _content(reference, Path(place))
    value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise SettingsRefused(f"{reference} is empty")
    if not value.isprintable():
        raise SettingsRefused(f"{reference} has more than one line, or characters that cannot be printed")
    return value


def _for_header(reference: str) -> str:
    value = resolved(reference)
    if not value.isascii():
        raise SettingsRefused(f"{reference} has characters beyond ASCII, which an HTTP header cannot carry")
    return value


def _content(reference: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise SettingsRefused(f"{reference} is too long for a secret")
        text = content.decode()
    except OSError as error:
        raise SettingsRefused(f"{reference} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsRefused(f"{reference} holds no text") from None
    if _read_by_all(mode):
        emit("secret.exposed", reference=reference)
    return text


def is_exposed(reference: str) -> bool:
    """Every user of this machine can read the file. False for what is no file, or not here."""
    kind, _, place = reference.partition(":")
    try:
        return kind == "file" and _read_by_all(Path(place).stat().st_mode)
    except OSError:
        return False


def _read_by_all(mode: int) -> bool:
    return os.name == "posix" and bool(mode & stat.S_IROTH)


def _trusted(ca_file: str | None) -> bool | str:
    if ca_file is None:
        return True
    try:
        ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise SettingsRefused(f"the CA file {ca_file} holds no certificate in PEM form") from None
    except OSError as error:
        raise SettingsRefused(f"the CA file {ca_file} cannot be read: {error.strerror}") from None
    return ca_file
