"""Queues of other libraries: how their parts are measured.

- `reading`: the commands for a trigger, and how to read their replies
- `extras`: what needs more than one round trip: `unacked` searches the messages that Celery's workers hold,
  `heartbeats` counts the tasks that they run, and `delayed` reads when messages of dramatiq are due
- `names`: the names of a library's queues
- `settling`: when an empty queue is believed to be empty
"""
