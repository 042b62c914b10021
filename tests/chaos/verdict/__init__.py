"""Judges a run.

- `evidence`: everything that is known when a run is over
- `judge`: verifies every guarantee, with the help of `entries`, `dead_letters` and `messages`
- `findings`, `report`: what was verified and counted; prints it
- `samples`: made-up evidence for the tests
"""
