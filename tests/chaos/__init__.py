"""Injects random faults into real hosts and servers, and proves that nothing is lost (`make chaos`).

- `plan`, `run`: the size of a run, and its course
- `scenarios`: the servers, and the faults of each kind of setup
- `faults`: draws and injects faults; network faults; takeovers of the pub/sub lease
- `hosts`: the host processes and the app that they run
- `producers`: add entries and publish messages
- `records`: what processes recorded; what is left on the servers
- `verdict`: judges a run and prints the verdict
- `test_chaos`: a short run
"""
