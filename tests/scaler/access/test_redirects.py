"""Sentinels and clusters from connection strings in metadata that redirect to other hosts."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from redis.crc import key_slot

from tests.servers.catalogue import RELEASES
from tests.support.network.outside_servers import ALLOWED, HERE, FakeResolver, asking, concealed, connections, start
from tests.support.running_scaler import RunningScaler, running_scaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server


async def test_sentinels_that_name_another_host(reachable: Server, names: FakeResolver, address: str) -> None:
    """A primary that allowed Sentinels name must be allowed too: here first a loopback address, then an allowed one."""
    with sentinel(address, reachable) as watching, watching.client() as client:
        async with running_scaler(scaler={"allowed_hosts": ["*.cache.example", address]}) as scaler:
            string = f"{HERE}:{watching.port},serviceName=main"
            await concealed(scaler, string)
            assert connections(reachable) == 0
            client.execute_command("SENTINEL", "REMOVE", "main")
            client.execute_command("SENTINEL", "MONITOR", "main", address, reachable.port, 1)
            await eventually(lambda: is_measured(scaler, string))


@contextlib.contextmanager
def sentinel(address: str, primary: Server) -> Iterator[Server]:
    """A Sentinel on this address that names a server by its loopback address."""
    with tempfile.TemporaryDirectory(prefix="triggerfish-sentinel-") as folder:
        file = Path(folder, "sentinel.conf")
        file.write_text(f"sentinel monitor main 127.0.0.1 {primary.port} 1\nprotected-mode no\n")
        binary = RELEASES["valkey-9.1"].binary
        assert binary is not None
        with Server(binary, "--bind", "127.0.0.1", address, "--sentinel", configuration=file) as watching:
            yield watching


async def is_measured(scaler: RunningScaler, string: str) -> bool:
    """Return whether the Redis of this connection string can be measured."""
    with contextlib.suppress(Exception):
        return await scaler.keda.target(asking(string)) == 1
    return False


CLUSTER = ("--cluster-enabled", "yes", "--cluster-preferred-endpoint-type", "hostname")


async def test_clusters_that_redirect_to_another_host(names: FakeResolver, address: str) -> None:
    """Nodes that CLUSTER SLOTS or MOVED names must be allowed too. Others are not even resolved."""
    with start(address, *CLUSTER) as first, start(address, *CLUSTER) as second:
        await form_cluster(first, second)
        string = f"{HERE}:{first.port}"
        async with running_scaler(scaler=ALLOWED) as scaler:
            await eventually(lambda: is_measured(scaler, string))  # the first node has all slots and an allowed name
            move_orders(first, second)  # MOVED names the second node
            await eventually_concealed(scaler, string)
        async with running_scaler(scaler=ALLOWED) as scaler:  # CLUSTER SLOTS names the second node from the start
            await concealed(scaler, string)
            assert connections(second) == 0
            assert "elsewhere.example" not in names.asked
            with second.client() as client:
                client.config_set("cluster-announce-hostname", "b.cache.example")
            await eventually(lambda: is_measured(scaler, string))
            assert connections(second) == 1


async def eventually_concealed(scaler: RunningScaler, string: str) -> None:
    """Wait until the Redis of this connection string can no longer be measured, and check the error."""

    async def not_measured() -> bool:
        return not await is_measured(scaler, string)

    await eventually(not_measured)
    await concealed(scaler, string)


async def form_cluster(first: Server, second: Server) -> None:
    """Give all slots to the first node, which announces an allowed name. The second announces another one."""
    with first.client() as one, second.client() as other:
        one.config_set("cluster-announce-hostname", HERE)
        other.config_set("cluster-announce-hostname", "elsewhere.example")
        one.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        one.execute_command("CLUSTER", "MEET", "127.0.0.1", second.port)
        await eventually(lambda: "cluster_state:ok" in str(other.execute_command("CLUSTER", "INFO")))
        await eventually(lambda: "elsewhere.example" in str(one.execute_command("CLUSTER", "NODES")))
        one.rpush("orders", "x")


def move_orders(first: Server, second: Server) -> None:
    """Move the slot of `orders` with its key."""
    with first.client() as one, second.client() as other:
        slot, target = key_slot(b"orders"), other.execute_command("CLUSTER", "MYID")
        one.delete("orders")
        for client in (other, one):
            client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target)
        other.rpush("orders", "x")
