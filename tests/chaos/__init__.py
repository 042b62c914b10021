"""Random faults against real hosts and servers, and proof that nothing was lost. `make chaos` runs it in full."""
