"""Connections from the settings and from mounted files, which may change while the scaler runs."""

from collections.abc import Callable
from pathlib import Path

from listeners.connections.connections_dir import folder_stamp
from listeners.connections.named import Connection, Connections
from listeners.connections.settings import ConnectionSettings, connections_from, spec_or_error
from listeners.connections.spec import ConnectionSpec
from listeners.errors import ConfigurationError
from listeners.runtime.files import FileStamp, FileWatch, file_stamp
from listeners.runtime.logs import steady_logger
from scaler.access.access import Access, ConnectionLimits, check_namespaces_are_trusted, limits_of
from scaler.settings import Settings

__all__ = ["ConnectionFiles"]

log = steady_logger("triggerfish.scaler")

#: The keys for problems with the whole folder and with the default connection, among those by connection name. No file
#: has these names.
FOLDER = ""
DEFAULT = "/"
_SHOWN_AS = {FOLDER: "connections_dir", DEFAULT: "connection"}


class ConnectionFiles:
    """Keeps an Access up to date with the settings and files. Calls `on_broken` when a connection becomes unusable.

    Raises ConfigurationError if the folder is missing, or if a connection in the settings is unusable. An unusable
    connection in the folder is logged by name and does not affect others; nor does a connection that breaks later.
    """

    def __init__(self, settings: Settings, on_broken: Callable[[], object]) -> None:
        self._settings = settings
        self._on_broken = on_broken
        self._logged: dict[str, str] = {}
        #: Whether a connection is unusable for a reason that may end without a change to the folder.
        self._may_recover = False
        self._seen: dict[Path, FileStamp] = {}
        self._folder = FileWatch(self._folder_stamp)
        if settings.connection is not None:
            settings.connection.spec("connection")
        for name, connection in settings.connections.items():
            connection.spec(f"connections.{name}")
            if limits_of(connection) is not None:
                check_namespaces_are_trusted(name, settings.scaler)
        settings.mounted_connections()  # raises if the folder is missing
        self.access = Access(Connections(), allowed_hosts=tuple(settings.scaler.allowed_hosts))
        self.use(self.read())

    def changed(self) -> bool:
        """Return whether a file changed, or an unusable connection may work by now. Blocks while checking."""
        return bool(
            self._may_recover
            or self._folder.changed()
            or any(file_stamp(file) != seen for file, seen in self._seen.items())
        )

    def read(self) -> Access:
        """Return the access that the settings and files define now. Blocks while reading."""
        problems: dict[str, ConfigurationError] = {}
        limits: dict[str, ConnectionLimits] = {}
        specs: dict[str, Connection] = {}
        default = self._default(problems)
        defined = self._defined(problems)
        unreadable = problems.keys() - {FOLDER, DEFAULT}
        for name, (field, connection) in defined.items():
            spec = spec_or_error(connection, field)
            if isinstance(spec, ConfigurationError):
                problems[name] = spec
                continue
            specs[name] = spec
            try:
                if (limited := limits_of(connection)) is not None:
                    check_namespaces_are_trusted(name, self._settings.scaler)
                    limits[name] = limited
            except ConfigurationError as error:
                problems[name] = error
        self._may_recover = bool(problems.keys() - unreadable)
        self._log_changes(problems)
        for key in (FOLDER, DEFAULT):
            problems.pop(key, None)
        return Access(Connections(default, {**specs, **problems}), limits)

    def use(self, now: Access) -> set[ConnectionSpec]:
        """Apply what was read. Return the connections that are no longer in use."""
        before = _specs(self.access)
        self.access.connections, self.access.limits = now.connections, now.limits
        self._seen = {Path(file): seen for spec in _specs(now) for file, seen in spec.files}
        return before - _specs(now)

    def _default(self, problems: dict[str, ConfigurationError]) -> Connection:
        """Return the default connection. Adds its error to `problems`."""
        try:
            return connections_from(self._settings.connection, {}).default
        except ConfigurationError as error:
            problems[DEFAULT] = error
            return error

    def _defined(self, problems: dict[str, ConfigurationError]) -> dict[str, tuple[str, ConnectionSettings]]:
        """Return the readable connections by name, each with its field in errors. Adds other errors to `problems`."""
        found: dict[str, tuple[str, ConnectionSettings]] = {}
        try:
            with self._folder.reading():
                mounted = self._settings.mounted_connections()
        except ConfigurationError as error:
            problems[FOLDER] = error
            mounted = {}
        for name, connection in mounted.items():
            if isinstance(connection, ConfigurationError):
                problems[name] = connection
            else:
                found[name] = (f"connections_dir.{name}", connection)
        for name, connection in self._settings.connections.items():
            problems.pop(name.lower(), None)
            found[name.lower()] = (f"connections.{name}", connection)
        return found

    def _log_changes(self, problems: dict[str, ConfigurationError]) -> None:
        """Log each problem once, and its end."""
        now = {name: str(error) for name, error in problems.items()}
        for name, text in now.items():
            if self._logged.get(name) != text:
                log.warning("unusable connection: %s", text)
                self._on_broken()
        for name in self._logged.keys() - now.keys():
            log.info("%s is usable again", _SHOWN_AS.get(name, name))
        self._logged = now

    def _folder_stamp(self) -> object:
        folder = self._settings.connections_dir
        return folder_stamp(folder) if folder is not None else None


def _specs(access: Access) -> set[ConnectionSpec]:
    connections = (access.connections.default, *access.connections.named.values())
    return {spec for spec in connections if isinstance(spec, ConnectionSpec)}
