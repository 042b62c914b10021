"""Evaluation: from a backlog to the number of instances.

- `evaluator`: evaluates triggers, and keeps the latest evaluation of each
- `target`: the number of instances for a backlog
- `history`: the backlog of the last minutes

It may import `scaler.measuring`, `scaler.access` and the layers below them.
"""
