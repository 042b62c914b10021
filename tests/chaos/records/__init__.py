"""What is known of a run: what processes recorded of their calls (`calls`), and what is left on the servers."""
