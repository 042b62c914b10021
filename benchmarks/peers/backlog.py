"""Backlogs in each peer's format: created once by the peer's own client, copied for each run."""

import os
import subprocess

import redis

from benchmarks.host.scenarios import KEY, PAYLOAD, fill
from benchmarks.peers.entrants import ROOT, Entrant
from triggerfish.testing.server import Server

__all__ = ["DATABASES", "Backlogs"]

DATABASES = 32
FILL_SECONDS = 120.0
MESSAGE_SECONDS = 5.0
PAGE = 10_000

_PUBLISH = "for _ = 1, ARGV[1] do redis.call('PUBLISH', KEYS[1], ARGV[2]) end"
_REPEAT = """
if redis.call('TYPE', KEYS[1]).ok == 'list' then
    local element = redis.call('LINDEX', KEYS[1], 0)
    for _ = 1, ARGV[1] do redis.call('RPUSH', KEYS[1], element) end
else
    local fields = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][2]
    for _ = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', unpack(fields)) end
end
"""


class Backlogs:
    """Stores one backlog per peer and kind of source, each in its own database. Runs work on database 0."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._databases: dict[tuple[str, str], int] = {}
        self._messages: dict[str, bytes] = {"": PAYLOAD.encode()}

    def prepare(self, entrant: Entrant, entries: int) -> None:
        """Store `entries` entries for an entrant, or the message to publish, unless they are stored already."""
        place = (entrant.worker, entrant.scenario.kind)
        if entrant.scenario.kind == "pubsub":
            if entrant.worker not in self._messages:
                self._messages[entrant.worker] = self._published_by(entrant)
        elif place not in self._databases:
            self._databases[place] = database = len(self._databases) + 1
            if entrant.worker:
                self._run_client(entrant, database, entries)
            else:
                with self._client(database) as client:
                    fill(client, entrant.scenario, entries)

    def put(self, entrant: Entrant, entries: int) -> None:
        """Copy the stored backlog to database 0; if it is clonable, repeat its first message up to `entries`."""
        with self._client(self._databases[entrant.worker, entrant.scenario.kind]) as client:
            copies = client.pipeline(transaction=False)
            keys = list(client.scan_iter(count=1000))
            for key in keys:
                copies.copy(key, key, destination_db=0)
            copies.execute()
        if entrant.clonable:
            self._repeat(keys[0], entries)

    def publish(self, entrant: Entrant, entries: int) -> None:
        """Publish to all subscribers by script; a client would take CPU time from the readers."""
        with self._client() as client:
            for at in range(0, entries, PAGE):
                client.eval(_PUBLISH, 1, KEY, min(PAGE, entries - at), self._messages[entrant.worker])

    def _repeat(self, key: bytes, entries: int) -> None:
        with self._client() as client:
            length: int = client.llen(key) if client.type(key) == b"list" else client.xlen(key)
            for at in range(length, entries, PAGE):
                client.eval(_REPEAT, 1, key, min(PAGE, entries - at))

    def _published_by(self, entrant: Entrant) -> bytes:
        """Return the message that the peer's own client publishes."""
        with self._client() as client, client.pubsub(ignore_subscribe_messages=True) as subscription:
            subscription.subscribe(KEY)
            subscription.get_message(timeout=MESSAGE_SECONDS)
            self._run_client(entrant, 0, 1)
            message = subscription.get_message(timeout=MESSAGE_SECONDS)
            if message is None:
                raise RuntimeError(f"{entrant.name}: its client published nothing")
            data: bytes = message["data"]
            return data

    def _run_client(self, entrant: Entrant, database: int, entries: int) -> None:
        variables = {
            "BENCH_URL": f"redis://{self._server.address}/{database}",
            "BENCH_SCENARIO": entrant.scenario.name,
            "BENCH_ENTRIES": str(entries),
        }
        subprocess.run(  # noqa: S603  (our own command line)
            [*entrant.contender.command[:-1], "fill"],
            cwd=ROOT,
            env={**os.environ, **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=FILL_SECONDS,
            check=True,
        )

    def _client(self, database: int = 0) -> redis.Redis:
        return redis.Redis(port=self._server.port, db=database, protocol=2)
