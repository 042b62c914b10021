"""Calls a function with entries, within a time limit.

- `executor`: runs the calls of one function
- `running_call`: one call
- `task_pool`: reused asyncio tasks for calls
"""
