"""Writes an app's declaration as commented YAML. The same app always gives the same text."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from listeners.functions.triggers import PubSubTrigger
from listeners.settings import HostSettings
from listeners.text import printable
from scaler.triggers.app_triggers import declared_parameters, metadata_of, only_pubsub
from scaler.triggers.metadata import ScaledTrigger

__all__ = ["AppDeployment", "manifests", "quoted", "values"]

#: How much longer than its functions a pod may take to end: within this time it releases unfinished entries.
END_MARGIN_SECONDS = 10
#: Text that every YAML parser reads as is. All other text is quoted.
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
#: Words that some parsers do not read as text.
WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


@dataclass(frozen=True)
class AppDeployment:
    """An app as it should run in the cluster.

    `reference` is the app as named on the command line, and `name` the name of its objects. If `image` is None, the
    user fills it in; if `namespace` is None, it is left out. An app with only pub/sub triggers has one instance,
    regardless of the bounds.
    """

    reference: str
    name: str
    triggers: Sequence[ScaledTrigger]
    image: str | None
    namespace: str | None
    min_instances: int
    max_instances: int

    @property
    def own_name(self) -> str:
        """The app's name in its code, which its metrics and leases use."""
        return self.triggers[0].app

    @property
    def only_pubsub(self) -> bool:
        """Whether all triggers are pub/sub, so that KEDA has nothing to scale."""
        return only_pubsub(self.triggers)

    @property
    def connections(self) -> list[str]:
        """The names of its connections in lower case, since their case does not matter."""
        return sorted({scaled.trigger.connection.lower() for scaled in self.triggers if scaled.trigger.connection})

    @property
    def uses_default_connection(self) -> bool:
        """Whether some trigger names no connection."""
        return any(scaled.trigger.connection is None for scaled in self.triggers)

    @property
    def secret_keys(self) -> list[str]:
        """The keys of the Secret that contains its connections."""
        return sorted({*self.connections, *(("default",) if self.uses_default_connection else ())})

    @property
    def holds_leases(self) -> bool:
        """Whether some trigger runs in one instance only."""
        return any(isinstance(s.trigger, PubSubTrigger) and s.trigger.singleton for s in self.triggers)

    @property
    def broadcasts(self) -> bool:
        """Whether some trigger runs in every instance, so that each instance gets every message."""
        return any(isinstance(s.trigger, PubSubTrigger) and not s.trigger.singleton for s in self.triggers)


class _Comment(str):
    """Text for a comment, in one line."""

    __slots__ = ()


def manifests(app: AppDeployment, scaler_address: str) -> str:
    """Return a Deployment, and a ScaledObject unless all triggers are pub/sub. Raises ConfigurationError."""
    grace_seconds = HostSettings().grace_period_seconds
    text = _templates.get_template("deployment.yaml").render(
        app=app, grace_seconds=int(grace_seconds), end_seconds=math.ceil(grace_seconds) + END_MARGIN_SECONDS
    )
    if app.only_pubsub:
        return text
    triggers = [(scaled.trigger, metadata_of(scaled, scaler_address)) for scaled in app.triggers]
    return text + _templates.get_template("scaledobject.yaml").render(app=app, triggers=triggers)


def values(app: AppDeployment) -> str:
    """Return values for the chart."""
    triggers = {scaled.function: declared_parameters(scaled, explicit=False) for scaled in app.triggers}
    return _templates.get_template("values.yaml").render(
        app=app, triggers=triggers, image=_image_parts(app.image) if app.image else None
    )


def quoted(value: object) -> str:
    """Return a YAML scalar that every parser reads as this value."""
    if isinstance(value, _Comment):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if PLAIN.fullmatch(text) and text.lower() not in WORDS:
        return text
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=math.inf).rstrip("\n")


def _image_parts(image: str) -> dict[str, str]:
    """Split an image's name into the parts that the chart uses."""
    name, _, digest = image.partition("@")
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:  # a registry's port, not a tag
        repository, tag = name, ""
    parts = {"repository": repository, "tag": tag, "digest": digest}
    return {part: value for part, value in parts.items() if value}


def _environment() -> Environment:
    """Return the template environment. It quotes every value except those marked as comments."""
    environment = Environment(  # noqa: S701  (YAML: `finalize` quotes)
        loader=PackageLoader("scaler.manifests"),
        undefined=StrictUndefined,
        finalize=quoted,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["comment"] = lambda text: _Comment(printable(text))
    environment.tests["pubsub"] = lambda trigger: isinstance(trigger, PubSubTrigger)
    return environment


_templates = _environment()
