"""Queues of other libraries: what each library keeps where in Redis. No I/O.

- `parts`: the parts of a queue, with the commands that read them and the meaning of the replies
- `trigger`: what the triggers of all libraries have in common
- `libraries`: the table of the libraries; `celery` and `sidekiq` need more than a few lines
- `names`: where the names of a library's queues can be read
- `refused`: the libraries whose running jobs are in no key, and why they are refused

It may import `scaler.settings` and the lower layers of `listeners`.
"""
