"""`python -m triggerfish` is `triggerfish`."""

from triggerfish.cli import main

if __name__ == "__main__":
    main()
