"""Arms keys of one Redis, and decides whether its word can be relied on."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from listeners.connections.spec import Endpoint
from listeners.errors import AccessDeniedError, CommandRefusedError, SourceError
from listeners.keys import probe_key
from listeners.redis.client import Client
from listeners.runtime.backoff import Backoff
from listeners.runtime.logs import steady_logger
from listeners.runtime.tasks import together
from listeners.tracking.armed import Armed
from listeners.tracking.node import ANSWER_SECONDS, Node

__all__ = ["Watch"]

log = steady_logger("triggerfish.tracking")

#: How long tracking is not tried again: where it is denied or absent, and after a change that was not reported.
DENIED_SECONDS = 600.0
UNTOLD_SECONDS = 3_600.0
#: The time between two attempts to let a server prove that it reports changes.
PROBE_SECONDS = 5.0
#: How long a key is not tried again that could not be read: it is denied, or is moving.
UNREADABLE_SECONDS = 5.0
#: The pause after a connection is lost.
FIRST_PAUSE_SECONDS = 0.1
LAST_PAUSE_SECONDS = 10.0
#: The most armed keys. A server keeps about 80 bytes for each, and by default a million.
MAX_KEYS = 200_000
CLOSE_SECONDS = 2.0


class Watch:
    """Arms keys at the servers that have them. Connects when keys are armed for the first time.

    A failure never raises: keys are then not armed, and their reader polls. `on_untold` is called when a server turns
    out not to have reported a change.
    """

    def __init__(self, client: Client, address: str, on_untold: Callable[[], object]) -> None:
        self._client = client
        self._address = address
        self._on_untold = on_untold
        self._by_key: dict[str, set[Armed]] = {}
        self._nodes: dict[Endpoint | None, Node] = {}
        self._following: dict[Endpoint | None, asyncio.Task[None]] = {}
        #: For each server that is connected to, why it reports no changes, or "" once it is watched.
        self._refusals: dict[Endpoint | None, asyncio.Future[str]] = {}
        self._pauses: dict[Endpoint | None, tuple[Backoff, float]] = {}
        self._unreadable: dict[str, float] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._off_until = 0.0
        self._logged: str | None = None
        #: Why Redis reports no changes of any key; empty if it does.
        self.reason = "the connection for reports of changes is not open yet"

    async def arm(self, groups: Sequence[Sequence[str]]) -> list[Armed | None]:
        """Arm each group of keys. A group has None if not all of its keys can be armed now.

        A group may have ended already, if one of its keys has changed meanwhile.
        """
        armed: list[Armed | None] = [None] * len(groups)
        if time.monotonic() < self._off_until:
            return armed
        by_node: dict[Node, dict[str, None]] = {}
        for at, keys in enumerate(groups):
            nodes = [self._node_of(key) for key in keys]
            if self._unreadable and not self._readable(keys):
                continue
            if len(self._by_key) < MAX_KEYS and (present := [node for node in nodes if node]) and None not in nodes:
                armed[at] = self._begin(keys, present)
                for key, node in zip(keys, present, strict=True):
                    by_node.setdefault(node, {})[key] = None
        reads = await together(self._arm_at(node, keys) for node, keys in by_node.items())
        exists = {key: existed for read in reads for key, existed in read.items()}
        for at, one in enumerate(armed):
            if one is None or one.ended:
                continue
            if exists.keys() >= set(one.keys):
                one.missing = not any(exists[key] for key in one.keys)
            else:
                self.release(one)
                armed[at] = None
        return armed

    async def verify_missing(self, armed: Armed) -> None:
        """Look whether armed keys that were missing exist. If no report of it came, the server is not relied on."""
        for key in armed.keys:
            node = self._nodes.get(self._client.primary_of(key))
            try:
                exists = node is not None and (await node.arm([key])).get(key, False)
            except SourceError:
                continue
            if exists and not armed.ended:
                self._untold(f"key {key!r} was added")

    async def refusal(self, key: str) -> str:
        """Connect to the server that has a key. Return why it reports no changes, or "" if it accepts to."""
        if time.monotonic() < self._off_until:
            return self.reason
        self._node_of(key)
        refusal = self._refusals.get(self._client.primary_of(key))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await asyncio.shield(refusal) if refusal is not None else "its server is not reached"
        except TimeoutError:
            return "no answer in time"

    async def judge(self, armed: Armed) -> None:
        """Decide about armed keys that were found changed. If no report of it arrives, the server is not relied on."""
        for endpoint in {self._client.primary_of(key) for key in armed.keys}:
            node = self._nodes.get(endpoint)
            keys = [key for key in armed.keys if self._client.primary_of(key) == endpoint]
            try:
                if node is not None and await node.confirm(keys):
                    continue
            except SourceError as error:
                log.debug("cannot tell whether Redis at %s missed a change: %s", self._address, error)
            self.release(armed)  # another server has the keys by now
        if not armed.ended:
            self._untold(f"key {armed.keys[0]!r} changed")

    def release(self, armed: Armed) -> None:
        """End armed keys: nobody waits for their change any more, or it may get lost."""
        for key in armed.keys:
            watchers = self._by_key.get(key)
            if watchers is not None:
                watchers.discard(armed)
                if not watchers:
                    del self._by_key[key]
        armed.end()

    async def close(self) -> None:
        """End all keys and disconnect."""
        self._off_until = float("inf")
        await self._stop([*self._following.values(), *self._background])
        self._release_all()

    def _begin(self, keys: Sequence[str], nodes: Sequence[Node]) -> Armed:
        """Return keys that end with the next report. One that belongs to an earlier read only ends them too early."""
        armed = Armed(keys, tuple(dict.fromkeys(nodes)), time.monotonic())
        for key in keys:
            self._by_key.setdefault(key, set()).add(armed)
        return armed

    async def _arm_at(self, node: Node, keys: dict[str, None]) -> dict[str, bool]:
        if not node.probed:
            node.probed = True
            self._start(self._probe(node, next(iter(keys))), "probing tracking")
        try:
            readable = await node.arm(keys)
        except SourceError:
            return {}
        for key in keys.keys() - readable.keys():
            self._unreadable[key] = time.monotonic() + UNREADABLE_SECONDS
        return readable

    def _readable(self, keys: Sequence[str]) -> bool:
        """Return whether no key was refused lately: a denied key would be refused again and again."""
        now = time.monotonic()
        if len(self._unreadable) > MAX_KEYS:
            self._unreadable.clear()
        return all(self._unreadable.get(key, now) <= now for key in keys)

    async def _probe(self, node: Node, key: str) -> None:
        """Let the server prove itself: set a key of Triggerfish's own over another connection, until it has."""
        probe = probe_key(key)
        while not node.told and self._nodes.get(node.endpoint) is node:
            try:
                if not await node.arm([probe]):
                    return  # it may not be read
                await self._client.command(probe, "SET", probe, "1", "PX", "1", doing="probing tracking")
                await node.prove()
            except (AccessDeniedError, CommandRefusedError):
                return  # the first change is the proof
            except SourceError:  # late, a replica, or full
                await asyncio.sleep(PROBE_SECONDS)
                continue
            if not node.told:
                self._untold("a key was set")

    def _node_of(self, key: str) -> Node | None:
        """Return the server that has a key. Connects to it in the background."""
        endpoint = self._client.primary_of(key)
        node = self._nodes.get(endpoint)
        if node is None and endpoint not in self._following:
            backoff, until = self._pauses.get(endpoint) or (Backoff(FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS), 0.0)
            if time.monotonic() >= until:
                self._pauses[endpoint] = backoff, until
                self._refusals[endpoint] = asyncio.get_running_loop().create_future()
                self._following[endpoint] = asyncio.create_task(self._follow(endpoint), name="watching keys")
        return node if node is not None and node.has(key) else None

    async def _follow(self, endpoint: Endpoint | None) -> None:
        """Watch one server until it fails."""
        refusal = "the connection was closed"
        try:
            node = Node(
                self._client, endpoint, on_change=self._changed, on_moved=self._release_moved, on_end=self._node_ended
            )
            await node.follow(lambda: self._opened(node))
        except (AccessDeniedError, CommandRefusedError) as error:
            refusal = str(error)
            self._turn_off(refusal, DENIED_SECONDS)
        except SourceError as error:
            refusal = str(error)
            self._log_state(refusal)
        except Exception:
            log.exception("unexpected error while watching keys of Redis at %s", self._address)
        finally:
            backoff = self._pauses[endpoint][0]
            self._pauses[endpoint] = backoff, time.monotonic() + backoff.pause_seconds()
            self._following.pop(endpoint, None)
            self._answer(endpoint, refusal)

    def _opened(self, node: Node) -> None:
        self._nodes[node.endpoint] = node
        self.reason = ""
        self._answer(node.endpoint, "")

    def _answer(self, endpoint: Endpoint | None, refusal: str) -> None:
        """Tell those who ask whether the server reports changes."""
        if not self._refusals[endpoint].done():
            self._refusals[endpoint].set_result(refusal)

    def _node_ended(self, node: Node) -> None:
        if self._nodes.get(node.endpoint) is node:
            del self._nodes[node.endpoint]
        self._release_all(lambda armed: node in armed.provers)

    def _changed(self, node: Node, key: str | None) -> None:
        if not node.told:
            node.told = True
            self._pauses[node.endpoint][0].reset()
            self._log_state("")
        if key is None:
            self._release_all(lambda armed: node in armed.provers)
            return
        for armed in list(self._by_key.get(key, ())):
            self.release(armed)

    def _release_moved(self) -> None:
        """End the keys whose slot is moving."""
        nodes = self._nodes
        self._release_all(
            lambda armed: any(
                (node := nodes.get(self._client.primary_of(key))) is None or not node.has(key) for key in armed.keys
            )
        )

    def _release_all(self, which: Callable[[Armed], bool] = lambda _: True) -> None:
        for armed in {armed for watchers in self._by_key.values() for armed in watchers if which(armed)}:
            self.release(armed)

    def _untold(self, what: str) -> None:
        log.warning(
            "Redis at %s did not report that %s, although client tracking is on: its triggers are polled for the next "
            "%g min. A proxy in between, or SWAPDB, does that",
            self._address, what, UNTOLD_SECONDS / 60,
        )  # fmt: skip
        self._on_untold()
        self._turn_off(None, UNTOLD_SECONDS)
        self.reason = f"Redis did not report that {what}"

    def _turn_off(self, reason: str | None, seconds: float) -> None:
        self._off_until = time.monotonic() + seconds
        if reason is not None:
            self._log_state(reason)
        self._logged = None
        self._release_all()
        current = asyncio.current_task()
        self._start(self._stop([task for task in self._following.values() if task is not current]), "no tracking")

    async def _stop(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _log_state(self, reason: str) -> None:
        """Log each change of state once. `reason`: why Redis reports no changes; empty if it does."""
        self.reason = reason
        if reason == self._logged:
            return
        self._logged = reason
        if reason:
            log.info("Redis at %s reports no changes of keys, so its triggers are polled: %s", self._address, reason)
        else:
            log.info("Redis at %s reports changes of keys, so idle triggers are not polled", self._address)
