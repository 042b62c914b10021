"""Queues of other libraries: how their parts are measured.

- `reading`: the commands for a trigger, and how to read their replies
"""
