"""The likely mistake behind a failed connection, with its fix. No I/O."""

import re

__all__ = ["likely_mistake"]

_Fixes = tuple[tuple[str, str], ...]
#: How hiredis quotes the first byte of an alert of TLS.
_TLS_ALERT = r'Protocol error, got "\\x15"'
_CLOSED = r"Connection reset by peer|Connection closed by server|Connection lost|Broken pipe|EOF"

#: For all connections, and for those without and with TLS: a pattern in the error's text, and the fix.
_ALWAYS: _Fixes = (
    (
        r"without any password configured|no password is set",
        "The server asks this user for no password. Drop it; give its user; or if a Sentinel is there, add "
        "serviceName=... and sentinelPassword=...",
    ),
    (
        r"Authentication required",
        "The server asks for a password. Add password=..., or for a Sentinel sentinelPassword=...; or set "
        "password_file in the connection's settings",
    ),
    (
        r"invalid username-password pair|invalid password|WRONGPASS",
        "Check the password and the user. Drop the user if the server has only a password",
    ),
    (
        r"Name or service not known|No address associated|nodename nor servname|name resolution|getaddrinfo failed",
        "Check the host. In Kubernetes a Service of another namespace is NAME.NAMESPACE",
    ),
    (
        r"unknown command ['`]SELECT",
        "A Sentinel has no databases. If one is there, add serviceName=..., the name under which it monitors the "
        "primary",
    ),
    (r"unknown command ['`]SENTINEL", "A server is there and no Sentinel. Drop serviceName"),
    (r"SELECT is not allowed in cluster mode", "A cluster has only database 0. Drop the database"),
    (
        r"connecting to /.*No such file",
        "Check the path, which is the setting `unixsocket` of the server, and that the server is on this machine",
    ),
    (r"DB index is out of range", "Give a lower database, or raise `databases` in the server's configuration"),
)
_PLAIN: _Fixes = (
    (
        rf"{_CLOSED}|{_TLS_ALERT}",
        "The server sent no reply to the first command. If it expects TLS there, add ssl=True, or write rediss:// in a "
        "URL. If it has too many clients, raise its maxclients",
    ),
)
_TLS: _Fixes = (
    (
        r"(Hostname|IP address) mismatch",
        "Give a name in the certificate as sslHost=..., or as server_name in the connection's settings",
    ),
    (
        r"self.signed certificate|unable to get local issuer certificate|unable to get issuer certificate",
        "Give the certificate's CA as ca_file in the connection's settings, or in the variable SSL_CERT_FILE",
    ),
    (
        r"certificate required|CERTIFICATE_REQUIRED|handshake failure|HANDSHAKE_FAILURE|bad certificate|BAD_CERTIFICATE"
        rf"|{_CLOSED}",
        "If the server asks for a client certificate, set certificate_file and key_file in the connection's settings",
    ),
    (
        r"WRONG_VERSION_NUMBER|wrong version number|UNKNOWN_PROTOCOL|RECORD_LAYER_FAILURE|record layer failure"
        r"|Timeout connecting",
        "If the server expects plain text there, give its port for TLS; or drop ssl=True, or write redis:// in a URL",
    ),
)

#: What no other pattern explains.
_LAST: _Fixes = ((r"Protocol error", "Its reply is not Redis's. Check the host and the port"),)


def likely_mistake(problem: str, *, tls: bool) -> str:
    """Return the fix of the mistake that the text of an error during the handshake shows; empty if none is likely."""
    for pattern, fix in _ALWAYS + (_TLS if tls else _PLAIN) + _LAST:
        if re.search(pattern, problem):
            return fix
    return ""
