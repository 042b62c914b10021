"""A real cluster of three primaries with one replica each, with failover and slot migration."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import redis
from redis.crc import key_slot

from tests.servers.catalogue import Release
from triggerfish.testing.server import Server

__all__ = ["PRIMARIES", "Cluster"]

SLOTS = 16_384
PRIMARIES = 3
NODE_TIMEOUT_MS = 1_000
WAIT_SECONDS = 20.0

ARGUMENTS = (
    "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
    "--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--repl-diskless-sync-delay", "0",
)  # fmt: skip


class Cluster:
    """Six nodes on this machine. Each server gets `arguments`, such as "--appendonly", "yes"."""

    def __init__(self, release: Release, *arguments: str) -> None:
        self._stack = contextlib.ExitStack()
        self.nodes: list[Server] = []
        try:
            for _ in range(2 * PRIMARIES):
                self.nodes.append(release.start(*ARGUMENTS, *arguments))
                self._stack.callback(self.nodes[-1].stop)
            self._form()
        except BaseException:
            self._stack.close()
            raise

    @property
    def address(self) -> str:
        """A connection string with the addresses of all nodes."""
        return ",".join(node.address for node in self.nodes)

    def node_of(self, key: str) -> Server:
        """Return the current primary of a key, as reported by a live node."""
        slot = key_slot(key.encode())
        for first, last, primary, *_ in self._ask_any("CLUSTER", "SLOTS"):
            if int(first) <= slot <= int(last):
                return next(node for node in self.nodes if node.port == int(primary[1]))
        raise LookupError(f"slot {slot} has no primary")

    def client(self) -> redis.RedisCluster:
        """Return a plain blocking client of the cluster that decodes replies to text."""
        node = next(node for node in self.nodes if node.process.poll() is None)
        return redis.RedisCluster("127.0.0.1", node.port, decode_responses=True, protocol=2)

    def kill_primary_of(self, key: str) -> Server:
        """Send SIGKILL to the primary of a key, wait until its replica has taken over, and return the killed node."""
        killed = self.node_of(key)
        killed.process.kill()
        killed.process.wait()
        self._until(lambda: self.node_of(key) is not killed and self._healthy())
        return killed

    @contextlib.contextmanager
    def primary_down(self, key: str, *, suspended: bool) -> Iterator[None]:
        """Have the primary of a key down during the block, without a replica: suspended, or killed and then restarted.

        The cluster needs "--cluster-require-full-coverage", "no", and a restart "--appendonly", "yes" to keep the data.
        """
        primary = self.node_of(key)
        replica = self.nodes[self.nodes.index(primary) + PRIMARIES]
        replica.process.kill()
        replica.process.wait()
        primary.process.send_signal(signal.SIGSTOP if suspended else signal.SIGKILL)
        if not suspended:
            primary.process.wait()
        yield
        if suspended:
            primary.process.send_signal(signal.SIGCONT)
        else:
            primary.restart()

    def move_slot_of(self, key: str) -> Server:
        """Migrate the slot of a key, with all keys in it, to another primary, and return the new primary."""
        source = self.node_of(key)
        target = next(node for node in self.primaries() if node is not source)
        with self.migrating_slot_of(key, source, target):
            pass
        return target

    @contextlib.contextmanager
    def migrating_slot_of(self, key: str, source: Server, target: Server) -> Iterator[None]:
        """Keep the slot of a key migrating during the block; the remaining keys are moved after the block."""
        slot = key_slot(key.encode())
        source_id, target_id = (_call(node, "CLUSTER", "MYID") for node in (source, target))
        _call(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        _call(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        yield
        self.move_keys_of(key, source, target)
        for node in [target, source, *self.primaries()]:
            _call(node, "CLUSTER", "SETSLOT", slot, "NODE", target_id)

    def move_keys_of(self, key: str, source: Server, target: Server) -> None:
        """Move all keys in the slot of a key while the slot is migrating."""
        while keys := _call(source, "CLUSTER", "GETKEYSINSLOT", key_slot(key.encode()), 100):
            _call(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)

    def stop(self) -> None:
        """Stop all nodes."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _form(self) -> None:
        first, *others = self.nodes
        for node in others:
            _call(first, "CLUSTER", "MEET", "127.0.0.1", node.port)
        share = -(-SLOTS // PRIMARIES)
        for number in range(PRIMARIES):
            slots = range(number * share, min((number + 1) * share, SLOTS))
            _call(self.nodes[number], "CLUSTER", "ADDSLOTS", *slots)
        self._until(lambda: all(_known_nodes(node) == len(self.nodes) for node in self.nodes))
        for number in range(PRIMARIES):
            primary_id = _call(self.nodes[number], "CLUSTER", "MYID")
            _call(self.nodes[PRIMARIES + number], "CLUSTER", "REPLICATE", primary_id)
        self._until(self._healthy)
        self._until(lambda: all("master_link_status:up" in _info(node) for node in self.nodes[PRIMARIES:]))

    def _healthy(self) -> bool:
        """Return whether every live node reports the cluster as healthy, and a live primary for each slot."""
        live = {node.port for node in self.nodes if node.process.poll() is None}
        for node in self.nodes:
            if node.port in live:
                rows = _call(node, "CLUSTER", "SLOTS")
                covered = sum(int(row[1]) - int(row[0]) + 1 for row in rows if int(row[2][1]) in live)
                if covered != SLOTS or "cluster_state:ok" not in _call(node, "CLUSTER", "INFO"):
                    return False
        return True

    def primaries(self) -> list[Server]:
        """Return the live primaries."""
        ports = {int(row[2][1]) for row in self._ask_any("CLUSTER", "SLOTS")}
        return [node for node in self.nodes if node.port in ports and node.process.poll() is None]

    def _ask_any(self, *command: object) -> Any:
        return _call(next(node for node in self.nodes if node.process.poll() is None), *command)

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the cluster did not reach the expected state within {WAIT_SECONDS:g} s")
            time.sleep(0.02)


def _call(node: Server, *command: Any) -> Any:
    """Return the raw reply of a node."""
    with contextlib.closing(redis.Redis(port=node.port, protocol=2, decode_responses=True)) as client:
        client.response_callbacks.clear()
        return client.execute_command(*command)


def _known_nodes(node: Server) -> int:
    return len(str(_call(node, "CLUSTER", "NODES")).splitlines())


def _info(node: Server) -> str:
    return str(_call(node, "INFO", "replication"))
