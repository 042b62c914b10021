"""Calls a function with entries, within a time limit.

- `executor`: runs the calls of one function
- `limits`: how many calls and entries there are at once
- `outcomes`: what becomes of the entries of a call that failed
- `running_call`: one call
- `task_pool`: reused asyncio tasks for calls
- `waiting`: the entries of calls that have not begun, also those that wait for a full batch
"""
