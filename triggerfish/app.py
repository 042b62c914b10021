"""The App of programs: what listeners knows of an app, and running it."""

from listeners.connections.named import Connections
from listeners.functions.app import App as DeclaredApp
from listeners.settings import HostSettings

__all__ = ["App"]


class App(DeclaredApp):
    """A set of functions and their triggers.

    Args:
        name: The app's name in metrics, Redis client names and leases. All instances of an app must use the same name,
            and different apps on one Redis different names. Default: the name of the file or module that the app is
            loaded from, or `app` if a Host is created without loading one.
    """

    async def run(self, connections: Connections | str | None = None, settings: HostSettings | None = None) -> None:
        """Run the app in the event loop of a notebook or of another program, until that cancels it.

        Calls in progress are cancelled then and their entries released. It handles no signals. A Host can be drained
        instead, and shows whether it is ready.

        Args:
            connections: The connections that triggers name, and the default one, or only its address. Default: those
                that load_settings() finds.
            settings: How the host runs. Default: the settings that load_settings() finds if `connections` are not
                given either, and otherwise the defaults.

        Raises:
            ConfigurationError: A setting is invalid, a trigger names a connection that cannot be used, or the HTTP port
                cannot be bound.
            LifespanError: The app's lifespan has failed.
        """
        from listeners.host.host import Host  # noqa: PLC0415  (slow, and most modules only declare functions)

        if connections is None:
            from triggerfish.settings import load_settings  # noqa: PLC0415  (slow)

            loaded = load_settings()
            connections, settings = loaded.redis_connections(), settings or loaded.host
        await Host(self, connections, settings).run()
