"""`triggerfish manifest`: writes an app's manifests or Helm values from its declaration."""

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from listeners.errors import ConfigurationError
from listeners.runtime.extras import require_extra
from triggerfish.cli.options import (
    EnvFileOption,
    MaxInstancesOption,
    MinInstancesOption,
    NamespaceOption,
    OptionalAppArgument,
    announced_app,
    loaded_app,
)
from triggerfish.cli.output import print_line, stderr

if TYPE_CHECKING:
    from scaler.manifests.rendering import AppDeployment
    from scaler.triggers.metadata import ScaledTrigger

__all__ = ["manifest"]

DEFAULT_SCALER = "triggerfish-scaler.triggerfish.svc:6000"
#: KEDA's own default.
DEFAULT_MAX_INSTANCES = 100
#: What Kubernetes accepts for names and namespaces.
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")
ImageOption = Annotated[str | None, typer.Option(metavar="IMAGE", help="The app's image: registry.example/shop:1.0.")]
NameOption = Annotated[str | None, typer.Option(metavar="NAME", help="Name of the objects (default: the app's name).")]
ScalerAddressOption = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Address at which KEDA reaches the scaler; see above.")
]
HelmValuesOption = Annotated[bool, typer.Option("--helm-values", help="Print values for the Helm chart.")]
CheckOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Compare FILE with the app instead of printing; see above.")
]


def manifest(
    app: OptionalAppArgument = None,
    image: ImageOption = None,
    name: NameOption = None,
    namespace: NamespaceOption = None,
    scaler_address: ScalerAddressOption = None,
    min_instances: MinInstancesOption = None,
    max_instances: MaxInstancesOption = None,
    helm_values: HelmValuesOption = False,
    check: CheckOption = None,
    env_file: EnvFileOption = None,
) -> None:
    """Print an app's Deployment and ScaledObject, or its Helm values.

    Comments in the YAML give reasons, and mark what to fill in. The same app always produces the same text. Does not
    connect to Redis. The default of --scaler-address is triggerfish-scaler.triggerfish.svc:6000.

    Example:

    - `triggerfish manifest shop.py --image registry.example/shop:1.0`

    An app with only pub/sub triggers runs as one instance, without a ScaledObject. An app that also has other triggers
    always runs at least one.

    --check FILE compares FILE, which has manifests or values, with the app. It exits with status 0 if the triggers
    match. Otherwise it prints a diff and exits with status 1. For each function it compares the type, connection, keys
    or channel, consumer group, messages per worker and delivery; in values, also whether each connection is defined.
    It ignores everything else in FILE, such as the image, bounds, labels and other scalers.
    """
    require_extra("scaler", "triggerfish manifest")
    from scaler.manifests.rendering import AppDeployment, manifests, values
    from scaler.triggers.app_triggers import declared_triggers

    reference = app or announced_app("manifest")
    loaded = loaded_app(reference)
    least, most = _bounds(declared_triggers(loaded), min_instances, max_instances)
    deployment = AppDeployment(
        reference,
        _name(loaded.name, name),
        declared_triggers(loaded, most),
        _matching("--image", image, IMAGE, "Give an image's name, such as registry.example/shop:1.0."),
        _matching("--namespace", namespace, LABEL, "Kubernetes accepts a-z, 0-9 and '-', at most 63 characters."),
        least,
        most,
    )
    if check is not None:
        _check(deployment, check, name)
    elif helm_values:
        _check_unused(namespace, scaler_address)
        _print(values(deployment))
    else:
        _print(manifests(deployment, _address(scaler_address)))


def _check(app: "AppDeployment", file: Path, name: str | None) -> None:
    """Print the differences. Exits with status 1 if there are any."""
    from scaler.manifests.drift import drift

    found = drift(app, file)
    if not found.lines:
        return
    _print("\n".join(found.lines) + "\n")
    words = ["triggerfish", "manifest", app.reference, *(("--name", name) if name else ())]
    again = shlex.join([*words, *(("--helm-values",) if found.in_values else ()), "..."])
    print_line(
        f"The triggers in {file} differ from those of {app.reference}. Change the lines marked + and -, or generate "
        f"the file again with its original options: {again} > {file}",
        console=stderr(),
    )
    raise typer.Exit(1)


def _bounds(triggers: "list[ScaledTrigger]", least: int | None, most: int | None) -> tuple[int, int]:
    """Return the minimum and the maximum number of instances. Raises ConfigurationError."""
    from listeners.functions.triggers import PubSubTrigger
    from scaler.triggers.app_triggers import only_pubsub

    if only_pubsub(triggers):
        for field, given in (("--min-instances", least), ("--max-instances", most)):
            if given not in (None, 1):
                fix = "The app has only pub/sub triggers, which run in one instance. Omit this option."
                raise ConfigurationError(field, given, fix)
        return 1, 1
    listens = next((scaled for scaled in triggers if isinstance(scaled.trigger, PubSubTrigger)), None)
    if listens is not None and least == 0:
        fix = f"{listens.function} has a pub/sub trigger, which receives messages only while it runs. Give 1 or more."
        raise ConfigurationError("--min-instances", least, fix)
    least = least if least is not None else int(listens is not None)
    highest = most if most is not None else DEFAULT_MAX_INSTANCES
    if least > highest:
        raise ConfigurationError(
            "--min-instances", least, f"It is above --max-instances, which is {highest}. Lower it, or raise that."
        )
    return least, highest


def _name(app_name: str, given: str | None) -> str:
    """Return the name of the app's objects. Raises ConfigurationError."""
    rule = "Names in Kubernetes have at most 63 characters of a-z, 0-9 and '-'"
    if given is not None:
        return str(_matching("--name", given, LABEL, f"{rule}."))
    if LABEL.fullmatch(app_name):
        return app_name
    like = re.sub(r"[^a-z0-9]+", "-", app_name.lower())[:63].strip("-")
    raise ConfigurationError("app", app_name, f"{rule}. Give --name {like or 'NAME'}.")


def _check_unused(namespace: str | None, scaler_address: str | None) -> None:
    """Raise ConfigurationError for options that have no effect on values."""
    fix = "Values for the chart do not contain it. "
    if namespace is not None:
        raise ConfigurationError("--namespace", namespace, f"{fix}Pass it to helm.")
    if scaler_address is not None:
        raise ConfigurationError("--scaler-address", scaler_address, f"{fix}Omit it: the chart uses its own scaler.")


def _address(given: str | None) -> str:
    if given is not None and not re.fullmatch(r"[A-Za-z0-9.\[\]:-]+:\d{1,5}", given):
        raise ConfigurationError("--scaler-address", given, f"Give host:port, such as {DEFAULT_SCALER}.")
    return given or DEFAULT_SCALER


def _matching(field: str, value: str | None, pattern: re.Pattern[str], fix: str) -> str | None:
    if value is not None and not pattern.fullmatch(value):
        raise ConfigurationError(field, value, fix)
    return value


def _print(text: str) -> None:
    """Print as UTF-8 in any locale, because the output is usually a file."""
    typer.echo(text.encode(), nl=False)
