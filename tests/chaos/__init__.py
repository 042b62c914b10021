"""Injects random faults into real hosts and servers, and proves that nothing is lost (`make chaos`).

- `run`: one run
- `scenario`: the protocol of scenarios; `standalone`, `under_sentinel` and `on_cluster` implement it
- `proxy`, `nodes`: network faults; faults of single servers
- `hosts`, `app`: the host processes and the app that they run
- `faults`: draws and injects faults
- `producers`: add entries and publish messages
- `takeovers`: takeovers of the pub/sub lease
- `records`, `leftovers`: what processes recorded; what is left on the servers
- `verdict`, `report`: judge a run and print the verdict
- `test_chaos`, `test_verdict`: a short run; tests of the judge
"""
