"""Examples. `demo` is the app of `make demo`, and `orders` has start-up work, a context and middleware."""
