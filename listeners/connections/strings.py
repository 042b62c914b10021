"""Parse connection strings: the StackExchange.Redis form and URLs."""

import re
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic import SecretStr

from listeners.connections.azure import PLAIN_PORT, azure_tls_port, is_azure
from listeners.connections.options import HONOURED, TUNING, check_options, is_true
from listeners.connections.resolver import is_address
from listeners.connections.spec import DEFAULT_PORT, ConnectionSpec, Endpoint
from listeners.errors import ConnectionStringError

__all__ = ["parse_connection_string", "parse_host"]

DEFAULT_TLS_PORT = 6380
DEFAULT_SENTINEL_PORT = 26379
MAX_ENDPOINTS = 100
MAX_DATABASE = 1_000_000
#: The longest name that DNS has.
MAX_NAME = 253
_TLS_SCHEMES = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}


def parse_connection_string(connection_string: str) -> ConnectionSpec:
    """Parse `host:6380,password=...,ssl=True`, or a URL: `redis://`, `rediss://`, `valkey://`, `valkeys://`, `unix://`.

    Only known options are accepted, so a string cannot set options of the client library, and each of them has an
    effect or changes nothing (see `listeners.connections.options`).
    Raises ConnectionStringError, which never shows the string.
    """
    stripped = connection_string.strip()
    if not stripped:
        raise ConnectionStringError("It is empty. Give host:port or a redis:// URL.")
    is_url = re.match(r"[a-z][a-z0-9+.-]*://", stripped, re.IGNORECASE)
    return _parse_url(stripped) if is_url else _parse_stackexchange(stripped)


def _parse_stackexchange(connection_string: str) -> ConnectionSpec:
    places, options = _split(connection_string)
    check_options(options)
    endpoints = [_endpoint(place) for place in places]
    password = _secret(options.get("password"))
    options_first = "=" in connection_string.lstrip(" ,").partition(",")[0]
    if options_first or not options:
        _check_ports(endpoints)
    elif password is None:
        _check_ports(endpoints[1:])  # what options follow is a host
    tls = any(is_azure(host) and port != PLAIN_PORT for host, port in endpoints)
    if "ssl" in options:
        tls = is_true("ssl", options["ssl"])
    service = options.get("servicename") or None
    server_name = _server_name(options.get("sslhost"), tls)
    first, *others = [
        Endpoint(host, port or (DEFAULT_SENTINEL_PORT if service else _default_port(host, tls)))
        for host, port in endpoints
    ]
    return ConnectionSpec(
        host=first.host,
        port=first.port,
        database=_number("defaultDatabase", options.get("defaultdatabase", "0"), 0, MAX_DATABASE),
        username=options.get("user") or None,
        password=password,
        tls=tls,
        server_name=server_name,
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
            name = name.strip().lower()
            if name in options:
                spelling = HONOURED.get(name) or TUNING.get(name) or "option"
                raise ConnectionStringError(f"Its {spelling} is given twice. Keep one.")
            options[name] = value.strip()
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
            f"It has {len(places)} endpoints. Give 1 to {MAX_ENDPOINTS} first, then the options, separated by commas, "
            "as in host:6380,password=...,ssl=True."
        )
    return places, options


def _check_ports(endpoints: list[tuple[str, int | None]]) -> None:
    """Raise ConnectionStringError for an endpoint that may be a password: a name without a port.

    It may lack its `password=`, be what follows a comma in a password, or be all that a Secret holds. Errors and pages
    show hosts.
    """
    for host, port in endpoints:
        if port is None and not (is_address(host) or host.lower() == "localhost" or is_azure(host)):
            raise ConnectionStringError(
                "It has an endpoint without a port, which is not shown, because it may be a password. Write host:port, "
                "such as cache:6379, and a password as host:port,password=... instead."
            )


def _default_port(host: str, tls: bool) -> int:
    azure_port = azure_tls_port(host)
    if azure_port is not None and (tls or azure_port != DEFAULT_TLS_PORT):
        return azure_port
    return DEFAULT_TLS_PORT if tls else DEFAULT_PORT


def _server_name(name: str | None, tls: bool) -> str | None:
    if not name:
        return None
    if not tls:
        raise ConnectionStringError("Its sslHost needs TLS. Add ssl=True, or drop it.")
    try:
        return parse_host(name)
    except ConnectionStringError:
        raise ConnectionStringError("Its sslHost is not a host name. Give a name in the certificate.") from None


def _parse_url(url: str) -> ConnectionSpec:
    if re.search(r"[\t\r\n]", url):  # urlsplit would drop them
        raise ConnectionStringError("It contains a tab or a line break. Remove it, or write it as %09, %0D or %0A.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConnectionStringError(
            "It is not a valid URL. Use redis://user:password@host:port/database, with / in a password as %2F, # as "
            "%23 and ? as %3F. Several servers and options need the form host1:6379,host2:6379,password=...,ssl=True."
        ) from None
    if parts.scheme not in (*_TLS_SCHEMES, "unix"):
        raise ConnectionStringError(
            "Its scheme is unknown. Use redis, rediss, valkey, valkeys or unix. Sentinels are written "
            "sentinel1:26379,sentinel2:26379,serviceName=main."
        )
    if parts.fragment:
        raise ConnectionStringError("It has a fragment (#), which is not accepted. Write # in a password as %23.")
    if parts.username and parts.password is None:
        # Not a user, which would be shown: it may be a password.
        raise ConnectionStringError(
            "It has one word before the @. Write a password as redis://:password@host, both as "
            "redis://user:password@host, and a user without a password as redis://user:@host."
        )
    username = unquote(parts.username) if parts.username else None
    password = _secret(unquote(parts.password) if parts.password else None)
    if parts.scheme == "unix":
        if not parts.path.strip("/") or parts.hostname or port is not None:
            raise ConnectionStringError("It has no absolute path to a socket. Use unix:///path/to/redis.sock?db=0.")
        return ConnectionSpec(
            unix_path=unquote(parts.path), database=_url_database(parts, ""), username=username, password=password
        )
    tls = _TLS_SCHEMES[parts.scheme]
    host = parse_host(parts.hostname or "127.0.0.1")
    if is_azure(host) and not tls and port != PLAIN_PORT:
        raise ConnectionStringError(
            "Azure serves TLS there, so a password would be sent in plain text. Use rediss://, or name port "
            f"{PLAIN_PORT} if plain text is enabled on it."
        )
    default_port = azure_tls_port(host) or DEFAULT_PORT
    return ConnectionSpec(
        host=host,
        port=default_port if port is None else _number("port", str(port), 1, 65535),
        database=_url_database(parts, parts.path.strip("/")),
        username=username,
        password=password,
        tls=tls,
    )


def _url_database(parts: SplitResult, path: str) -> int:
    """Return the database, which stands in the path or in the option `db`, the only one."""
    options = parse_qsl(parts.query, keep_blank_values=True)
    if any(name != "db" for name, _ in options):
        raise ConnectionStringError(
            "It has an unknown option. A URL accepts only db. Files and the name in the certificate are settings of a "
            "connection: ca_file, certificate_file, key_file, password_file and server_name. Write ? in a password "
            "as %3F."
        )
    given = [value for value in (path, *(value for _, value in options)) if value]
    if len(given) > 1:
        raise ConnectionStringError("Its database is given twice. Keep one: redis://host:port/database.")
    return _number("database", given[0] if given else "0", 0, MAX_DATABASE)


def _secret(value: str | None) -> SecretStr | None:
    return SecretStr(value) if value else None


def _endpoint(endpoint: str) -> tuple[str, int | None]:
    """Return the host, and the port if there is one."""
    match = re.fullmatch(
        r"\[(?P<v6>[^\]:]*:[^\]]+)\](?::(?P<v6port>.*))?|(?P<host>[^:\s]+)(?::(?P<port>.*))?", endpoint
    )
    if match is None:
        raise ConnectionStringError("Its endpoint is not host:port. Use 127.0.0.1:6379 or [::1]:6379.")
    port = match["v6port"] if match["v6"] else match["port"]
    host = parse_host(match["v6"] or match["host"])
    return host, None if port is None else _number("port", port, 1, 65535)


def parse_host(host: str) -> str:
    """Return a host if it is valid. Errors and pages show it, so a misplaced password must not be accepted.

    Raises ConnectionStringError, which does not show it.
    """
    if ":" in host:
        if not is_address(host):
            raise ConnectionStringError("Its host is not an IPv6 address. Use [::1]:6379.")
    elif not _is_name(host):
        raise ConnectionStringError("Its host is not a host name. Use host:port or redis://user:password@host:port.")
    return host


def _is_name(host: str) -> bool:
    """Return whether a host can be resolved and be in a certificate, which the encoding of IDNA decides."""
    if len(host) > MAX_NAME:  # encoding a longer one could take seconds
        return False
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return re.fullmatch(r"[\w.-]+", host) is not None


def _number(name: str, value: str, min_value: int, max_value: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value) or not min_value <= int(value) <= max_value:
        raise ConnectionStringError(f"Its {name} is not a whole number from {min_value} to {max_value}.")
    return int(value)
