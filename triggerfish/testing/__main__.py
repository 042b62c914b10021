"""`python -m triggerfish.testing`: an embedded Valkey in the foreground, for tutorials and experiments."""

import argparse
import signal

from listeners.errors import ConfigurationError
from triggerfish.testing.server import PortTakenError, Server, StartError, embedded_binary


def main() -> None:
    """Run the server until SIGINT or SIGTERM, then delete its data."""
    parser = argparse.ArgumentParser(prog="python -m triggerfish.testing", description="Run an embedded Valkey.")
    parser.add_argument("--port", type=_port, metavar="PORT", default=6379, help="port on 127.0.0.1 (default 6379)")
    port: int = parser.parse_args().port
    # Blocked before the server starts, so that a signal cannot arrive between starting it and waiting.
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        server = Server(embedded_binary(), port=port)
    except ConfigurationError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    except PortTakenError:
        parser.exit(2, f"{parser.prog}: port {port} is in use: choose another with --port\n")
    except StartError as error:
        parser.exit(1, f"{parser.prog}: {' '.join(str(error).split())}\n")
    with server:
        print(f"Valkey is listening on {server.address}; Ctrl-C stops it and deletes its data", flush=True)  # noqa: T201
        signal.sigwait(signals)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"invalid port {text!r}: give a number from 1 to 65535")
    return int(text)


if __name__ == "__main__":
    main()
