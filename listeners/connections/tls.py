"""The TLS context of a connection."""

import ssl

from listeners.connections.spec import ConnectionSpec

__all__ = ["tls_context"]


def tls_context(spec: ConnectionSpec) -> ssl.SSLContext:
    """Return the context that verifies the server, by the system's CAs or only by those in `ca_file`.

    Raises OSError, such as ssl.SSLError, if a file cannot be used.
    """
    context = ssl.create_default_context(cafile=spec.ca_file)
    if spec.certificate_file is not None:
        # With a password, even a wrong one, OpenSSL fails on an encrypted key instead of prompting.
        context.load_cert_chain(spec.certificate_file, spec.key_file, password="")
    return context
