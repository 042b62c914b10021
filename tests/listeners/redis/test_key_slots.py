"""The keys beside a list are in its cluster slot, whatever braces its key has."""

from binascii import crc_hqx
from collections import Counter

import pytest

from listeners import keys
from listeners.keys import SLOTS, dead_letters_key, inflight_key, key_slot
from tests.servers.catalogue import RELEASES
from tests.support.running_host import running_host
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage

ODD_KEYS = ["a{b}c", "a}b", "a{}b", "}{x}", "x{{y}}", "{}q", "plain"]


async def test_keys_beside_a_list_are_in_its_slot() -> None:
    """The keys beside a list hash to the slot of its key and differ from those of other lists."""
    with RELEASES["valkey-9.1"].start("--cluster-enabled", "yes") as cluster:
        client = cluster.client()
        keys_beside = {key: [inflight_key(key), dead_letters_key(key)] for key in ODD_KEYS}
        for key, beside in keys_beside.items():
            slots = {client.execute_command("CLUSTER KEYSLOT", name) for name in [key, *beside]}
            assert len(slots) == 1, key
        assert len({name for beside in keys_beside.values() for name in beside}) == 2 * len(ODD_KEYS)
        client.close()


def test_names_beside_keys_without_a_tag_cost_constant_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key with a } and no hash tag gets its names without a search: one CRC, whichever slot it is in."""
    hashed: list[bytes] = []

    def counting(data: bytes, start: int) -> int:
        hashed.append(data)
        return crc_hqx(data, start)

    names = [f"shop:}}{number}" for number in range(1_000)]
    monkeypatch.setattr(keys, "crc_hqx", counting)
    beside = [inflight_key(name) for name in names]
    assert len(hashed) == len(names)
    assert [key_slot(name) for name in beside] == [key_slot(name) for name in names]


def test_every_slot_has_a_tag() -> None:
    """A tag exists for every slot."""
    assert all(key_slot(keys._tag_in_slot(slot)) == slot for slot in range(SLOTS))


@pytest.mark.usefixtures("quick_retries")
async def test_lists_with_braces_in_their_key_on_a_cluster_node() -> None:
    """Lists with braces in their keys are handled, retried and dead-lettered where scripts cannot cross slots."""
    app, handled = App(), Counter[str]()

    @app.list_trigger(keys=ODD_KEYS, max_deliveries=2)
    async def on_element(message: RedisMessage) -> None:
        handled[message.trigger] += 1
        raise ValueError

    with RELEASES["valkey-9.1"].start("--cluster-enabled", "yes") as node:
        client = node.client()
        client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        await eventually(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        for key in ODD_KEYS:
            client.rpush(key, key)
        async with running_host(node, app):
            await eventually(lambda: all(client.xlen(dead_letters_key(key)) == 1 for key in ODD_KEYS))
        assert [client.zcard(inflight_key(key)) for key in ODD_KEYS] == [0] * len(ODD_KEYS)
        client.close()
    assert handled == dict.fromkeys(ODD_KEYS, 2)
