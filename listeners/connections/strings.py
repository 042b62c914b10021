"""Parse connection strings: the StackExchange.Redis form and URLs."""

import ipaddress
import re
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import SecretStr

from listeners.connections.spec import DEFAULT_PORT, ConnectionSpec, Endpoint
from listeners.errors import ConnectionStringError
from listeners.text import closest

__all__ = ["parse_connection_string"]

DEFAULT_TLS_PORT = 6380
DEFAULT_SENTINEL_PORT = 26379
MAX_ENDPOINTS = 100
_TRUE = ("true", "1", "yes")
_FALSE = ("false", "0", "no")
_OPTIONS = ("password", "user", "ssl", "defaultDatabase", "serviceName", "sentinelPassword", "sentinelUser")

#: StackExchange.Redis options that are accepted and ignored: they tune that client.
_IGNORED_OPTIONS = frozenset(
    {
        "abortconnect", "allowadmin", "asynctimeout", "channelprefix", "checkcertificaterevocation", "clientname",
        "configcheckseconds", "configchannel", "connectretry", "connecttimeout", "heartbeatconsistencychecks",
        "heartbeatinterval", "highintegrity", "includedetailinexceptions", "includeperformancecountersinexceptions",
        "keepalive", "name", "protocol", "resolvedns", "setclientlibrary", "sslprotocols", "synctimeout", "tiebreaker",
        "version", "writebuffer",
    }
)  # fmt: skip


def parse_connection_string(connection_string: str) -> ConnectionSpec:
    """Parse `host:6380,password=...,ssl=True` or a `redis://`, `rediss://`, `unix://` URL.

    Only the options listed here are accepted, so a string cannot set options of the client library.
    Raises ConnectionStringError, which never shows the string.
    """
    stripped = connection_string.strip()
    if not stripped:
        raise ConnectionStringError("It is empty. Give host:port or a redis:// URL.")
    is_url = re.match(r"[a-z][a-z0-9+.-]*://", stripped, re.IGNORECASE)
    return _parse_url(stripped) if is_url else _parse_stackexchange(stripped)


def _parse_stackexchange(connection_string: str) -> ConnectionSpec:
    places, options = _split(connection_string)
    accepted = {option.lower(): option for option in _OPTIONS}
    unknown = sorted(set(options) - _IGNORED_OPTIONS - set(accepted))
    if unknown:
        # The option is not shown: if a password contains a comma, the text after it looks like an option.
        contained = next((option for name, option in accepted.items() if name in unknown[0]), None)
        close = contained or closest(unknown[0], _OPTIONS)
        hint = f" (did you mean {close}?)" if close else ""
        raise ConnectionStringError(
            f"It has an unknown option{hint}. Use {', '.join(_OPTIONS)}. If a password contains a comma, use a "
            "redis:// URL and write the comma as %2C."
        )
    tls = _boolean("ssl", options.get("ssl", "false"))
    service = options.get("servicename") or None
    default_port = DEFAULT_SENTINEL_PORT if service else DEFAULT_TLS_PORT if tls else DEFAULT_PORT
    first, *others = [_endpoint(place, default_port) for place in places]
    return ConnectionSpec(
        host=first.host,
        port=first.port,
        database=_number("defaultDatabase", options.get("defaultdatabase", "0"), 0, 1_000_000),
        username=options.get("user") or None,
        password=_secret(options.get("password")),
        tls=tls,
        others=tuple(others),
        service=service,
        sentinel_username=options.get("sentineluser") or None,
        sentinel_password=_secret(options.get("sentinelpassword")),
    )


def _split(connection_string: str) -> tuple[list[str], dict[str, str]]:
    """Split a string into endpoints and options. Option names are in lower case."""
    places: list[str] = []
    options: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in connection_string.split(","))):
        name, equals, value = part.partition("=")
        if equals:
            options[name.strip().lower()] = value.strip()
        elif places and options:
            # Not another endpoint, which would be shown: it may be the part of a password after a comma.
            raise ConnectionStringError(
                "It has an endpoint after an option. Write all endpoints first, then the options, as in "
                "host:6380,password=...,ssl=True. If a password contains a comma, use a redis:// URL and write the "
                "comma as %2C."
            )
        else:
            places.append(part)
    if not 1 <= len(places) <= MAX_ENDPOINTS:
        raise ConnectionStringError(
            f"It has {len(places)} endpoints. Give 1 to {MAX_ENDPOINTS} first, then the options, as in "
            "host:6380,password=...,ssl=True."
        )
    return places, options


def _parse_url(url: str) -> ConnectionSpec:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConnectionStringError("It is not a valid URL. Use redis://user:password@host:port/database.") from None
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ConnectionStringError("Its scheme is unknown. Use redis, rediss or unix.")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(set(query) - {"db"})
    if unknown:
        raise ConnectionStringError("It has an unknown option. A URL accepts only db. Write ? in a password as %3F.")
    if parts.fragment:
        raise ConnectionStringError("It has a fragment (#), which is not accepted. Write # in a password as %23.")
    username = unquote(parts.username) if parts.username else None
    password = _secret(unquote(parts.password) if parts.password else None)
    if parts.scheme == "unix":
        if not parts.path.strip("/") or parts.hostname:
            raise ConnectionStringError("It has no absolute path to a socket. Use unix:///path/to/redis.sock?db=0.")
        database = _number("db", query.get("db", "0"), 0, 1_000_000)
        return ConnectionSpec(unix_path=unquote(parts.path), database=database, username=username, password=password)
    tls = parts.scheme == "rediss"
    return ConnectionSpec(
        host=_host(parts.hostname or "127.0.0.1"),
        port=DEFAULT_PORT if port is None else _number("port", str(port), 1, 65535),
        database=_number("database", query.get("db") or parts.path.strip("/") or "0", 0, 1_000_000),
        username=username,
        password=password,
        tls=tls,
    )


def _secret(value: str | None) -> SecretStr | None:
    return SecretStr(value) if value else None


def _endpoint(endpoint: str, default_port: int) -> Endpoint:
    match = re.fullmatch(
        r"\[(?P<v6>[^\]:]*:[^\]]+)\](?::(?P<v6port>.*))?|(?P<host>[^:\s]+)(?::(?P<port>.*))?", endpoint
    )
    if match is None:
        raise ConnectionStringError("Its endpoint is not host:port. Use 127.0.0.1:6379 or [::1]:6379.")
    port = match["v6port"] if match["v6"] else match["port"]
    host = _host(match["v6"] or match["host"])
    return Endpoint(host, default_port if port is None else _number("port", port, 1, 65535))


def _host(host: str) -> str:
    """Return a host if it is valid. Errors and pages show it, so a misplaced password must not be accepted."""
    if ":" in host:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ConnectionStringError("Its host is not an IPv6 address. Use [::1]:6379.") from None
    elif not re.fullmatch(r"[\w.-]+", host):
        raise ConnectionStringError("Its host is not a host name. Use host:port or redis://user:password@host:port.")
    return host


def _number(name: str, value: str, min_value: int, max_value: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value) or not min_value <= int(value) <= max_value:
        raise ConnectionStringError(f"Its {name} is not a whole number from {min_value} to {max_value}.")
    return int(value)


def _boolean(name: str, value: str) -> bool:
    if value.lower() not in _TRUE + _FALSE:
        raise ConnectionStringError(f"Its {name} is not True or False.")
    return value.lower() in _TRUE
