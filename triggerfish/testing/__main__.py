"""`python -m triggerfish.testing`: an embedded Valkey in the foreground, for tutorials and experiments."""

import argparse
import signal

from listeners.errors import MissingExtraError
from triggerfish.testing.server import PortTakenError, Server, StartError, embedded_binary


def main() -> None:
    """Run the server until SIGINT or SIGTERM. Its data is gone afterwards."""
    parser = argparse.ArgumentParser(prog="python -m triggerfish.testing", description="Run an embedded Valkey.")
    parser.add_argument("--port", type=int, default=6379, help="port on 127.0.0.1 (default 6379)")
    port: int = parser.parse_args().port
    # Blocked before the server starts, so that a signal cannot arrive between starting it and waiting.
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        server = Server(embedded_binary(), port=port)
    except PortTakenError:
        parser.error(f"port {port} is in use: choose another with --port")
    except (MissingExtraError, StartError) as error:
        parser.exit(1, f"{parser.prog}: {' '.join(str(error).split())}\n")
    with server:
        print(f"Valkey is listening on {server.address}; Ctrl-C stops it and deletes its data", flush=True)  # noqa: T201
        signal.sigwait(signals)


if __name__ == "__main__":
    main()
