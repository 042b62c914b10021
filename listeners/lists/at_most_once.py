"""At most once: an element is popped before its call."""

from collections.abc import Collection, Sequence

from listeners.dead_letters.letters import description_fields, entry_fields
from listeners.engine.metrics import FunctionMetrics
from listeners.engine.settlement import Outcome, Refusal, Settlement
from listeners.engine.source import LeaseRenewal
from listeners.errors import SourceError, SourceTimeoutError, SourceUnavailableError
from listeners.functions.entries import Entry
from listeners.functions.triggers import ListTrigger, keys_read
from listeners.keys import dead_letters_key
from listeners.lists.delivery import Delivery, Taken
from listeners.redis.client import Client
from listeners.redis.error_translation import is_command_refused
from listeners.redis.scripts import load_script
from listeners.redis.server_info import ServerInfo
from listeners.runtime.logs import steady_logger
from listeners.text import decode

__all__ = ["AtMostOnce", "NoLeases"]

log = steady_logger("triggerfish.host")


class AtMostOnce(Delivery):
    """At most once, as in Azure Functions: LPOP or RPOP, COUNT from Redis 6.2, and LMPOP for several keys from 7.0.
    Where LMPOP is denied or renamed, the keys are read one by one.

    There are no leases, and so no suspects.
    """

    def __init__(
        self, trigger: ListTrigger, function_name: str, client: Client, server: ServerInfo, metrics: FunctionMetrics
    ) -> None:
        self._trigger = trigger
        self._function_name = function_name
        self._client = client
        self._server = server
        self._metrics = metrics
        self._keys = keys_read(trigger, multi_pop=server.supports(7))
        self._multi_pop_refused = False
        self._add_dead_letter = load_script(
            "listeners.lists.scripts", "dead_letter_popped", uses=(("listeners.dead_letters", "add"),)
        )

    def describe(self) -> str:
        if len(self._keys) > 1:
            return "LMPOP (at most once)"
        return (
            f"{self._pop} with COUNT (at most once)" if self._server.supports(6, 2) else f"{self._pop} (at most once)"
        )

    @property
    def _pop(self) -> str:
        return "LPOP" if self._trigger.list_pop_from_beginning else "RPOP"

    async def take(self, key: str, count: int, max_bytes: int, succeeded: Sequence[Entry] = ()) -> Taken:
        """Pop up to `count` elements. Their sizes are not known beforehand."""
        popped_from, payloads = await self._pop_elements(key, count)
        return Taken([Entry(popped_from, payload=payload) for payload in payloads])

    async def _pop_elements(self, key: str, count: int) -> tuple[str, list[bytes]]:
        doing = f"taking from list {key!r}"
        same_slot = next(group for group in self._client.group_by_slot(self._keys) if key in group)
        if len(same_slot) > 1 and not self._multi_pop_refused:
            # LMPOP takes from the first key that has elements. Starting at `key` keeps the rotation fair.
            at = same_slot.index(key)
            order = same_slot[at:] + same_slot[:at]
            end = "LEFT" if self._trigger.list_pop_from_beginning else "RIGHT"
            try:
                reply = await self._client.command(key, "LMPOP", len(order), *order, end, "COUNT", count, doing=doing)
                return (decode(reply[0]), reply[1]) if reply else (key, [])
            except SourceError as error:
                if not is_command_refused(error):
                    raise
                log.warning("%s: %s. Its lists are read by %s", self._function_name, error, self._pop)
                self._multi_pop_refused = True
        if self._server.supports(6, 2):
            return key, await self._client.command(key, self._pop, key, count, doing=doing) or []
        payload = await self._client.command(key, self._pop, key, doing=doing)
        return key, [] if payload is None else [payload]

    async def take_suspect(self, key: str) -> Entry | None:
        return None

    async def begin(self, entry: Entry, *, counts: bool) -> bool:
        return False

    async def settle(self, key: str, settlements: Sequence[Settlement]) -> list[Refusal]:
        """Add dead letters. There is nothing to do for other outcomes."""
        refusals: list[Refusal] = []
        for settlement in settlements:
            if settlement.outcome is Outcome.DEAD_LETTERED:
                try:
                    await self._dead_letter(key, settlement)
                except (SourceUnavailableError, SourceTimeoutError):
                    raise
                except SourceError as error:
                    refusals.append(Refusal(settlement, error))
        return refusals

    async def _dead_letter(self, key: str, settlement: Settlement) -> None:
        dropped = await self._client.run_script(
            self._add_dead_letter,
            [dead_letters_key(key)],
            [*description_fields(settlement, self._function_name), *entry_fields(settlement.entry)],
            doing=f"dead-lettering from list {key!r}",
        )
        self._metrics.dead_letters_dropped.inc(dropped)

    async def release(self, key: str, entries: Sequence[Entry]) -> None:
        """Push back elements whose call did not start, in their original order. The others had their one delivery."""
        payloads = [entry.payload for entry in reversed(entries) if entry.started_at is None]
        if payloads:
            push = "LPUSH" if self._trigger.list_pop_from_beginning else "RPUSH"
            await self._client.command(key, push, key, *payloads, doing=f"returning elements to list {key!r}")

    async def correct_clock(self, key: str) -> None:
        """Do nothing: a popped element has no lease."""


class NoLeases(LeaseRenewal):
    """Renews nothing: a popped element has no lease."""

    async def renew(self, entries: Collection[Entry]) -> None:
        """Do nothing."""
