"""The command line, one module for each command. It may import everything.

A command imports its implementation when it runs: `--help` must be fast, and gRPC and Jinja may not be installed.
"""

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line: the entry point of `triggerfish` and `python -m triggerfish`."""
    from triggerfish.shadowing import shadowing_problem

    if problem := shadowing_problem("listeners", "scaler"):
        print(f"triggerfish: {problem}", file=sys.stderr)  # noqa: T201  (nothing else of ours can be imported)
        sys.exit(2)
    from triggerfish.cli.program import run_program

    run_program()
