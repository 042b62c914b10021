"""Connections by app setting, in the order in which the host of Azure Functions looks for them."""

import os

from pydantic import SecretStr

from listeners.connections.settings import ConnectionSettings
from listeners.errors import UnknownConnectionError, UnusableConnectionError
from triggerfish.functions_project.app_settings import AppSettings

__all__ = ["connection_of"]

IDENTITY = ("redishostname", "principalid", "clientid", "tenantid", "clientsecret", "credential")


def connection_of(name: str, settings: AppSettings) -> ConnectionSettings:
    """Return the connection that app settings define under a name: a string, or a host and an identity.

    Raises ConfigurationError, which never shows a value.
    """
    shown = settings.shown(name)
    field = f"connections.{shown}"
    for place in _places(name):
        text, options = (settings.get(place) or "").strip(), settings.below(place)
        if text and options.get("redishostname"):
            fix = f"The app settings {shown} and {shown}__redisHostName exclude each other. Remove one."
            raise UnusableConnectionError(field, None, fix)
        if text:
            found = ConnectionSettings(connection_string=SecretStr(text))
            found.check_string(field)
            return found
        if any(option in options for option in IDENTITY):
            return _of_identity(shown, field, options)
    if shown != name:
        fix = "There is no connection with the name that it stands for. The app setting holds a name, not an address."
        raise UnknownConnectionError("connection", shown, fix)
    fix = (
        f"There is no such connection. Set the app setting {name}, AzureWebJobs{name} or ConnectionStrings:{name}, or "
        f"TRIGGERFISH_CONNECTIONS__{name.upper()}."
    )
    raise UnknownConnectionError("connection", name, fix)


def _places(name: str) -> tuple[str, ...]:
    prefixed = f"AzureWebJobs{name}"
    return (f"ConnectionStrings:{prefixed}", prefixed, f"ConnectionStrings:{name}", name)


def _of_identity(name: str, field: str, options: dict[str, str]) -> ConnectionSettings:
    host, principal = options.get("redishostname", "").strip(), options.get("principalid", "").strip()
    for option, value in (("redisHostName", host), ("principalId", principal)):
        if not value:
            raise UnusableConnectionError(f"{name}__{option}", None, "An identity needs this app setting. Add it.")
        if "," in value or "=" in value:
            raise UnusableConnectionError(f"{name}__{option}", None, "It has a , or =. Write the name alone.")
    for option, variable in (
        ("clientid", "AZURE_CLIENT_ID"),
        ("tenantid", "AZURE_TENANT_ID"),
        ("clientsecret", "AZURE_CLIENT_SECRET"),
    ):
        # One identity for each process: the packages of Azure take it from these variables.
        if option in options and os.environ.setdefault(variable, options[option]) != options[option]:
            fix = f"It differs from {variable}, and a process has one identity. Make them equal."
            raise UnusableConnectionError(f"{name}__{option}", None, fix)
    found = ConnectionSettings(connection_string=SecretStr(f"{host},ssl=True,user={principal}"), entra=True)
    found.check_string(field)
    return found
