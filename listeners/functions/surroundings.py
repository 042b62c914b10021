"""What calls of a function have around them: a context, and the app's middleware."""

import functools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from listeners.functions.app import Function
from listeners.functions.context import RedisClients, context_of
from listeners.functions.entries import Entry
from listeners.functions.middleware import Call, Middleware, run_within

__all__ = ["Surroundings"]


@dataclass(frozen=True)
class Surroundings:
    """Those of one function. `state` returns what the lifespan has yielded."""

    app_name: str
    function: Function
    middleware: Sequence[Middleware]
    clients: RedisClients | None
    state: Callable[[], Any]

    @classmethod
    def of(
        cls,
        app_name: str,
        function: Function,
        middleware: Sequence[Middleware],
        clients: RedisClients | None,
        state: Callable[[], Any],
    ) -> "Surroundings | None":
        """Return those of a function; None if its calls have nothing around them."""
        if not middleware and function.binding.with_context is None:
            return None
        return cls(app_name, function, middleware, clients, state)

    async def run(
        self,
        entries: Sequence[Entry],
        argument: Any,
        ends_at: float,
        call_handler: Callable[[Callable[[Any], Any], Any], Awaitable[None]],
    ) -> None:
        """Run one call of the function within the middleware. `call_handler` calls a handler with an argument.

        Raises what the function or the middleware raises. `ends_at`: when the time limit ends (time.perf_counter).
        """
        context = context_of(
            entries,
            app=self.app_name,
            function=self.function.name,
            state=self.state(),
            ends_at=ends_at,
            clients=self.clients,
        )
        handler: Callable[[Any], Any] = self.function.handler
        if self.function.binding.with_context is not None:
            handler = functools.partial(self.function.binding.with_context, context)
        await run_within(self.middleware, Call(context, entries), functools.partial(call_handler, handler, argument))
