"""Holds the scaler against the queues of other libraries: `make queues`.

Real producers and workers of each library run on a real server. Every few milliseconds the scaler's answer is compared
with the truth, which the jobs record themselves.

- `programs`: a producer and a worker of each library
- `environments`: what those programs need, installed below .venv
- `libraries`: the libraries in their modes, with the metadata for the scaler and KEDA's recipe
- `processes`: starts and ends the programs
- `samples`: compares answers with the truth
- `run`: one library on one server
- `document`: the table and the page
"""
