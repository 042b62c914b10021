"""The options of StackExchange.Redis strings: honoured, accepted because they change nothing here, or refused."""

from listeners.errors import ConnectionStringError
from listeners.text import closest

__all__ = ["HONOURED", "TUNING", "check_options", "is_true"]

#: Option names in lower case, with their spelling.
HONOURED = {
    option.lower(): option
    for option in (
        "password", "user", "ssl", "sslHost", "defaultDatabase", "serviceName", "sentinelPassword", "sentinelUser",
    )
}  # fmt: skip

#: Accepted without effect: they tune StackExchange.Redis, and do not change which Redis is read or how it is trusted.
TUNING = {
    option.lower(): option
    for option in (
        "abortConnect", "allowAdmin", "asyncTimeout", "configChannel", "configCheckSeconds", "connectRetry",
        "connectTimeout", "heartbeatConsistencyChecks", "heartbeatInterval", "highIntegrity",
        "highPrioritySocketThreads", "highPriorityThreads", "includeDetailInExceptions",
        "includePerformanceCountersInExceptions", "keepAlive", "name", "preserveAsyncOrder", "protocol", "resolveDns",
        "responseTimeout", "setlib", "syncTimeout", "tiebreaker", "version", "writeBuffer",
    )
}  # fmt: skip

_TRUE = ("true", "1", "yes")
_FALSE = ("false", "0", "no")

#: Refused because they change which data is read or how the server is trusted: the values that change nothing after
#: all, and the fix.
_REFUSED = {
    "channelprefix": ((), "channelPrefix is not supported. Write the whole channel into the trigger, and drop it."),
    "proxy": (("none",), "proxy is not supported. Give the address of Redis itself, and drop it."),
    "tunnel": ((), "tunnel is not supported. Give an address that can be reached without it, and drop it."),
    "checkcertificaterevocation": (
        _FALSE,
        "checkCertificateRevocation=True is not supported, because revocation is not checked. Drop it.",
    ),
    "sslprotocols": (
        ("none", "tls12", "tls12|tls13", "tls13|tls12"),
        "sslProtocols is not supported, because TLS 1.2 and 1.3 are always accepted. Use tls12|tls13, or drop it.",
    ),
}


def check_options(options: dict[str, str]) -> None:
    """Raise ConnectionStringError if an option, whose name is in lower case, is unknown, refused or without effect.

    An error never shows an unknown option: if a password contains a comma, the text after it looks like an option.
    """
    unknown = sorted(set(options) - HONOURED.keys() - TUNING.keys() - _REFUSED.keys())
    if unknown:
        raise ConnectionStringError(_unknown_option(unknown[0]))
    for name, (harmless, fix) in _REFUSED.items():
        value = options.get(name, "").replace(" ", "").lower()
        if value and value not in harmless:
            raise ConnectionStringError(fix)
    for name in ("sentineluser", "sentinelpassword"):
        if options.get(name) and not options.get("servicename"):
            raise ConnectionStringError(
                f"Its {HONOURED[name]} needs serviceName, the name under which Sentinels monitor the primary. Add "
                "serviceName=..., or drop it."
            )


def _unknown_option(name: str) -> str:
    """Return what is wrong with an unknown option, without its name."""
    if name.startswith("$"):
        return "Renamed and disabled commands ($COMMAND=...) are not supported. Drop them."
    name = name.replace("_", "")
    if "cert" in name:
        return "Certificates are settings of a connection: ca_file, certificate_file and key_file."
    contained = max((option for option in HONOURED if option in name), key=len, default=None)
    close = HONOURED[contained] if contained is not None else closest(name, HONOURED.values())
    hint = f" (did you mean {close}?)" if close else ""
    return (
        f"It has an unknown option{hint}. Use {', '.join(HONOURED.values())}. If a password contains a comma, use a "
        "redis:// URL and write the comma as %2C."
    )


def is_true(name: str, value: str) -> bool:
    """Return the value of an option that is True or False. Raises ConnectionStringError if it is neither."""
    if value.lower() not in _TRUE + _FALSE:
        raise ConnectionStringError(f"Its {name} is not True or False.")
    return value.lower() in _TRUE
