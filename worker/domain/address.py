"""Where is a host? What people write, in every form that Ollama's OLLAMA_HOST knows → one URL, and a name for it."""

import ipaddress
import re
from urllib.parse import urlsplit

from worker.errors import SettingsRefused

DEFAULT_PORT = 11434
_PORTS = {"http": 80, "https": 443}
_EXPECTED = "expected an address as in OLLAMA_HOST: HOST, HOST:PORT, :PORT, [::1]:PORT or http(s)://HOST[:PORT][/PATH]"
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - replaced, not bound
_HOST = re.compile(r"[^\s/?#@=\\\[\]:%\"'<>]+")
_PATH = re.compile(r"(/[^\s?#\\\"'<>]*)?")


def host_address(text: str) -> str:
    """``text`` as a URL: lower-case scheme and host, a port unless it is the scheme's own, no slash at the end.

    As the server reads it (``envconfig/config.go Host``): without a scheme it is plain HTTP at port 11434; with one the
    port is 80 or 443. Where a server listens on all interfaces a client goes to this machine. Unlike there a port out
    of range is refused, not replaced: it would be another server's.

    Raises SettingsRefused; for credentials within the address, too, which would be stored in clear.

    >>> host_address("gpu-1"), host_address(":1234"), host_address("0.0.0.0")
    ('http://gpu-1:11434', 'http://127.0.0.1:1234', 'http://127.0.0.1:11434')
    >>> host_address("http://gpu-1"), host_address("https://GPU.example/ollama/")
    ('http://gpu-1', 'https://gpu.example/ollama')
    >>> host_address("::1"), host_address("[::1]:1234"), host_address('"1.2.3.4:80"')
    ('http://[::1]:11434', 'http://[::1]:1234', 'http://1.2.3.4')
    """
    text = text.strip().strip("\"'").strip()
    scheme, separator, rest = text.partition("://")
    if not separator:
        if text == "ollama.com":  # so does the server
            return "https://ollama.com"
        scheme, rest = "http", text
        default = DEFAULT_PORT
    else:
        scheme = scheme.lower()
        if "=" in scheme:
            raise SettingsRefused(
                f"{_quoted(text)}: give the name of a host or its address, not both; {_EXPECTED}"
            )
        if scheme not in _PORTS:
            raise SettingsRefused(f"{_quoted(text)} begins with {scheme}://; {_EXPECTED}")
        default = _PORTS[scheme]
    place, slash, path = rest.partition("/")
    if "@" in place:
        raise SettingsRefused(
            f"{_quoted(text)} holds credentials, which would be stored in clear; leave them out and name where they stand: "
            "caravan hosts add NAME URL --basic-auth env:NAME (its value USER:PASSWORD) or --basic-auth file:PATH"
        )
    host, port = _parted(place, text)
    host = _EVERYWHERE.get(host, host)
    number = default if port is None else _port(port, text)
    if _PATH.fullmatch(slash + path) is None or "?" in place or "#" in place:
        raise SettingsRefused(f"{_quoted(text)} has a query, a fragment or a space; {_EXPECTED}")
    end = "" if number == _PORTS[scheme] else f":{number}"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}{end}{(slash + path).rstrip('/')}"


def host_name(address: str) -> str:
    """A name for the host at ``address``, as ``host_address`` gives it: the place where it stands.

    >>> host_name("http://gpu-1:11434"), host_name("https://gpu.example/teams/ollama"), host_name("http://[::1]:11434")
    ('gpu-1:11434', 'gpu.example_teams_ollama', '[::1]:11434')
    """
    parts = urlsplit(address)
    return (parts.netloc.rpartition("@")[2] + parts.path.rstrip("/")).replace("/", "_")[:100]


def _parted(place: str, text: str) -> tuple[str, str | None]:
    """Host and port of ``place``. An IPv6 address may stand without brackets where no port follows.

    >>> _parted("gpu-1:1", ""), _parted("::1", ""), _parted("[::1]:1", ""), _parted("", "")
    (('gpu-1', '1'), ('::1', None), ('::1', '1'), ('', None))
    """
    if place.startswith("["):
        host, closed, after = place[1:].partition("]")
        if closed and (not after or after.startswith(":")):
            return _address_6(host, text), after[1:] or None
    elif place.count(":") > 1:
        return _address_6(place, text), None
    else:
        host, _, port = place.partition(":")
        if not host or _HOST.fullmatch(host):
            return host.lower(), port or None
    raise SettingsRefused(f"{_quoted(text)} is not a valid address; {_EXPECTED}")


def _address_6(host: str, text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(host.replace("%25", "%"))).replace("%", "%25")
    except ValueError:
        raise SettingsRefused(f"{_quoted(text)} is not a valid IPv6 address; {_EXPECTED}") from None


def _port(port: str, text: str) -> int:
    if port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536:
        return int(port)
    raise SettingsRefused(
        f"{_quoted(text)}: {port[:20]!r} is not a valid port; expected a number from 1 to 65535"
    )


def _quoted(text: str) -> str:
    """``text`` without credentials, safe to print.

    >>> _quoted("https://me:secret@gpu-1/x")
    "'https://***@gpu-1/x'"
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    _, at, place = rest.rpartition("@")
    return repr(f"{scheme}{separator}{'***@' if at else ''}{place}"[:200])
