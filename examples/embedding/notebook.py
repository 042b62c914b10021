"""A notebook: each `# %%` begins a cell. Jupyter and VS Code run it cell by cell in an event loop that runs already."""

# %% The app and its functions. Running this cell again makes a new app.
import asyncio
import os

import redis.asyncio

from triggerfish import App, Host

ADDRESS = os.environ.get("TRIGGERFISH_CONNECTION", "127.0.0.1:6379")
app = App("notebook")
client = redis.asyncio.Redis.from_url(f"redis://{ADDRESS}", protocol=2)
seen: list[str] = []


@app.list_trigger(keys="orders")
async def handle_order(order: str) -> None:
    seen.append(order)


# %% Run it while a cell runs. The block ends once its calls have finished.
async with Host(app, ADDRESS):
    await client.rpush("orders", "first")
    while not seen:
        await asyncio.sleep(0.01)

# %% Or run it in the background, while other cells run.
host = Host(app, ADDRESS)
running = asyncio.create_task(host.run())

# %%
await client.rpush("orders", "second")
while len(seen) < 2:
    await asyncio.sleep(0.01)

# %% Drain: calls in progress finish, and other entries are released.
host.drain()
await running
await client.aclose()
print("seen:", seen)
