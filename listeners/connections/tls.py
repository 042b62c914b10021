"""Tls: moved out of another file; say what belongs here."""

import ssl

from listeners.connections.spec import ConnectionSpec

__all__ = ["tls_context"]


def tls_context(spec: ConnectionSpec) -> ssl.SSLContext:
    """What verifies the server: by the system's authorities, or by the connection's own and no others.

    Raises OSError (ssl.SSLError among it) if a file cannot be used.
    """
    context = ssl.create_default_context(cafile=spec.ca_file)
    if spec.certificate_file is not None:
        # With a password, even a wrong one, a key that is encrypted is an error instead of a question.
        context.load_cert_chain(spec.certificate_file, spec.key_file, password="")
    return context
