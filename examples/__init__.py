"""Examples. `demo` is the app of `make demo`."""
