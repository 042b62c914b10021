"""`python -m scaler` is `triggerfish`."""

from scaler.cli import main

if __name__ == "__main__":
    main()
