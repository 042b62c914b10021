"""Queues of other libraries: how their parts are measured.

- `reading`: the commands for a trigger, and how to read their replies
- `settling`: when an empty queue is believed to be empty
"""
