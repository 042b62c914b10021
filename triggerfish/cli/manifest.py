"""`triggerfish manifest`: what an app needs in Kubernetes, from its own declaration."""

import contextlib
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from listeners.errors import ConfigurationError
from listeners.functions.loading import load_app
from listeners.functions.triggers import PubSubTrigger
from scaler.triggers.app_triggers import declared_triggers, only_pubsub
from scaler.triggers.metadata import ScaledTrigger
from triggerfish.cli.options import AppArgument

if TYPE_CHECKING:  # templates are not needed to run functions
    from scaler.manifests.rendering import AppDeployment


__all__ = ["HELP", "manifest"]

HELP = "\n\n".join(
    (
        "Print what an app needs in Kubernetes: a Deployment, and a ScaledObject for KEDA with its triggers.",
        "  triggerfish manifest shop.py --image registry.example/shop:1.0 | kubectl apply -f -",
        "The comments in it say why, and what is left to fill in. The same app always gives the same text. With "
        "--helm-values it is values for the chart instead. Redis is not asked, and nothing is changed.",
        "An app with pub/sub triggers only is one instance without a ScaledObject; one that has others too never has "
        "fewer than one.",
        "--check FILE prints nothing and ends with code 0 if FILE, manifests or values, still has the app's triggers; "
        "otherwise it prints a diff and ends with code 1. It compares for each function the type, connection, keys or "
        "channel, consumer group, messages per worker and delivery, and in values whether the connections are there.",
        "All else in FILE is yours: image, bounds, labels, addresses, behaviour, activationMessages, other scalers of "
        "KEDA. Comments, order, spelling and defaults do not count.",
    )
)


DEFAULT_SCALER = "triggerfish-scaler.triggerfish.svc:6000"


#: KEDA's own default.
DEFAULT_MAX = 100


#: What Kubernetes takes for names and namespaces.
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")


ImageOption = Annotated[str | None, typer.Option(metavar="IMAGE", help="The app's image: registry.example/shop:1.0.")]


NameOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="The name of the objects, if it is not to be the app's.")
]


NamespaceOption = Annotated[
    str | None,
    typer.Option("--namespace", "-n", metavar="NAME", help="Their namespace; else it is kubectl's or helm's."),
]


AddressOption = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help=f"Where KEDA finds the scaler; by default {DEFAULT_SCALER}.")
]


MinOption = Annotated[
    int | None, typer.Option("--min", min=0, help="The fewest instances: 0, or 1 with a pub/sub trigger.")
]


MaxOption = Annotated[int | None, typer.Option("--max", min=1, help=f"The most instances: {DEFAULT_MAX}.")]


ValuesOption = Annotated[bool, typer.Option("--helm-values", help="Print values for the chart.")]


CheckOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Compare with manifests or values; of the other options only --name counts."),
]


def manifest(
    app: AppArgument,
    image: ImageOption = None,
    name: NameOption = None,
    namespace: NamespaceOption = None,
    scaler_address: AddressOption = None,
    min_instances: MinOption = None,
    max_instances: MaxOption = None,
    helm_values: ValuesOption = False,
    check: CheckOption = None,
) -> None:
    """Print what an app needs in Kubernetes; see HELP."""
    from scaler.manifests.rendering import AppDeployment, manifests, values  # noqa: PLC0415

    with contextlib.redirect_stdout(sys.stderr):  # what the app's module prints is no YAML
        loaded = load_app(app)
    triggers = declared_triggers(loaded)
    least, most = _bounds(triggers, min_instances, max_instances)
    deployed = AppDeployment(
        app,
        _name(loaded.name or "app", name),
        declared_triggers(loaded, most),
        _matching("--image", image, IMAGE, "Give an image's name, such as registry.example/shop:1.0."),
        _matching("--namespace", namespace, LABEL, "Kubernetes takes a-z, 0-9 and '-', at most 63 of them."),
        least,
        most,
    )
    if check is not None:
        _check(deployed, check, name)
        return
    if helm_values:
        _check_unused(namespace, scaler_address)
        _print(values(deployed))
    else:
        _print(manifests(deployed, _address(scaler_address)))


def _check(app: "AppDeployment", file: Path, name: str | None) -> None:
    """Print what differs; end with code 1 if anything does."""
    from scaler.manifests.drift import drift  # noqa: PLC0415

    found = drift(app, file)
    if not found.lines:
        return
    _print("\n".join(found.lines) + "\n")
    words = ["triggerfish", "manifest", app.reference, *(("--name", name) if name else ())]
    again = shlex.join([*words, *(("--helm-values",) if found.in_values else ()), "..."])
    typer.echo(
        f"{file} has other triggers than {app.reference}. Change its lines as + and - say, or write it anew with the "
        f"options that it was written with: {again} > {file}",
        err=True,
    )
    raise typer.Exit(1)


def _bounds(triggers: list[ScaledTrigger], least: int | None, most: int | None) -> tuple[int, int]:
    """The fewest and the most instances. Raises ConfigurationError."""
    if only_pubsub(triggers):
        for option, given in (("--min", least), ("--max", most)):
            if given not in (None, 1):
                fix = "The app has pub/sub triggers only, which run in one instance: leave it out."
                raise ConfigurationError(option, given, fix)
        return 1, 1
    listens = next((scaled for scaled in triggers if isinstance(scaled.trigger, PubSubTrigger)), None)
    if listens is not None and least == 0:
        fix = f"{listens.function} is a pub/sub trigger and hears only what comes while it runs: give 1 or more."
        raise ConfigurationError("--min", least, fix)
    least = least if least is not None else int(listens is not None)
    highest = most if most is not None else DEFAULT_MAX
    if least > highest:
        raise ConfigurationError("--min", least, f"It is above --max, which is {highest}: lower it, or raise --max.")
    return least, highest


def _name(app_name: str, given: str | None) -> str:
    """The name of the app's objects. Raises ConfigurationError."""
    rule = "Kubernetes takes a-z, 0-9 and '-' in names, at most 63 of them"
    if given is not None:
        return str(_matching("--name", given, LABEL, f"{rule}."))
    if LABEL.fullmatch(app_name):
        return app_name
    like = re.sub(r"[^a-z0-9]+", "-", app_name.lower())[:63].strip("-")
    raise ConfigurationError("app", app_name, f"{rule}: say --name {like or 'NAME'}.")


def _check_unused(namespace: str | None, scaler_address: str | None) -> None:
    """Refuse options that would be lost. Raises ConfigurationError."""
    fix = "Values for the chart have no place for it: "
    if namespace is not None:
        raise ConfigurationError("--namespace", namespace, f"{fix}give it to helm.")
    if scaler_address is not None:
        raise ConfigurationError("--scaler-address", scaler_address, f"{fix}the chart knows its scaler.")


def _address(given: str | None) -> str:
    if given is not None and not re.fullmatch(r"[A-Za-z0-9.\[\]:-]+:\d{1,5}", given):
        raise ConfigurationError("--scaler-address", given, f"Give host:port, such as {DEFAULT_SCALER}.")
    return given or DEFAULT_SCALER


def _matching(option: str, value: str | None, pattern: re.Pattern[str], fix: str) -> str | None:
    if value is not None and not pattern.fullmatch(value):
        raise ConfigurationError(option, value, fix)
    return value


def _print(text: str) -> None:
    """Write UTF-8, whatever the locale: it is for files."""
    typer.echo(text.encode(), nl=False)
