"""Client tracking: Redis reports when a key changes, so that nobody has to poll it (Redis 6.0, no server setting).

    Lookout        the keys of one trigger: when they are worth a look
      |
    Watch          one Redis: which keys are armed, and whether the server's word can be relied on
      |
    Node           one server of it: a connection, the proof each second, and the slots that it has
      |
    WatchConnection   RESP3 with tracking on: reads that arm keys, replies in order, and reports of changes

- `armed`: keys that are armed together, until one changes or can no longer be relied on
- `connection`: the connection
- `node`: proves each second that every change was reported, and that the server is still the right one
- `lookout`: waits until a report, an entry that is due, or time is a reason to look at keys
- `watch`: arms keys and ends them; decides whether a server can be relied on

What it relies on:

- A read makes the server remember the key for this connection, also if the key does not exist. The next change is
  reported once. A group's own changes (XACK, XGROUP SETID) and SWAPDB are not reported.
- Reports and replies are one sequence of bytes, so the answer to a command proves that every change before it was
  reported.
- A failover may leave the connection open, and a slot that moves while a key is missing is not reported. So each proof
  includes the server's role and slots, and what the Sentinels say.
- A proxy may accept tracking and report nothing. So a server is relied on only after it has reported one change: of a
  key of Triggerfish's that another connection sets, or where that is denied, of any armed key.

It may import `redis` and the layers below it.
"""
