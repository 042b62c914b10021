"""Values that the chart must refuse, and words of the message that its user then reads."""

from dataclasses import dataclass
from typing import Any

from tests.charts.rendering import chart_values, merged

__all__ = ["BAD_VALUES", "BadValues"]

ONE_APP = chart_values("one-app")
PUBSUB = chart_values("pubsub-only")
TLS = chart_values("tls")
MTLS = chart_values("mtls-cert-manager")
APPS_ONLY = chart_values("apps-only")

ORDERS = {"type": "RedisListTrigger", "keys": "orders"}


@dataclass(frozen=True)
class BadValues:
    """A mistake: what is laid over good values, and what the message must say."""

    mistake: str
    more: dict[str, Any]
    words: tuple[str, ...]
    good: dict[str, Any]

    @property
    def values(self) -> dict[str, Any]:
        """The good values with the mistake."""
        return merged(self.good, self.more)


def _shop(**app: object) -> dict[str, Any]:
    return {"apps": {"shop": app}}


def _order(**trigger: object) -> dict[str, Any]:
    return _shop(triggers={"handle_order": trigger})


def _bad(mistake: str, more: dict[str, Any], *words: str, good: dict[str, Any] = ONE_APP) -> BadValues:
    return BadValues(mistake, more, words, good)


BAD_VALUES = (
    # what the schema sees
    _bad("a number that is text", {"scaler": {"replicas": "two"}}, "/scaler/replicas", "integer"),
    _bad("an unknown key", {"scaler": {"replicaCount": 2}}, "/scaler", "'replicaCount' not allowed"),
    _bad("an unknown key of an app", _shop(replicas=2), "/apps/shop", "'replicas' not allowed"),
    _bad("an unknown setting", {"scaler": {"settings": {"bound": 1}}}, "/scaler/settings", "'bound' not allowed"),
    _bad("a setting of the chart's", {"scaler": {"settings": {"grpc_port": 1}}}, "'grpc_port' not allowed"),
    _bad(
        "a connection string for a connection", {"connections": {"other": "redis:6379"}}, "/connections/other", "object"
    ),
    _bad("a trigger of an unknown type", _order(type="RedisSetTrigger"), "handle_order/type", "RedisListTrigger"),
    _bad("a list without keys", _shop(triggers={"new": {"type": "RedisListTrigger"}}), "/triggers/new", "'keys'"),
    _bad("a stream without keys", _shop(triggers={"new": {"type": "RedisStreamTrigger"}}), "/triggers/new", "'keys'"),
    _bad("pub/sub without a channel", _shop(triggers={"new": {"type": "RedisPubSubTrigger"}}), "'channel'"),
    _bad("a misspelt parameter", _order(messagesPerWorkers=5), "'messagesPerWorkers' not allowed"),
    _bad("a parameter of another type", _order(consumerGroup="x"), "'consumerGroup' not allowed"),
    _bad("no entry for an instance", _order(messagesPerWorker=0), "messagesPerWorker", "minimum"),
    _bad("a port that does not exist", {"networkPolicy": {"redisPorts": [99999]}}, "/networkPolicy/redisPorts/0"),
    _bad("a lease that does not exist", _shop(pubsubLease="auto"), "/apps/shop/pubsubLease", "kubernetes"),
    # what the templates see
    _bad(
        "a connection without a Secret",
        {"connections": {"other": {"key": "x"}}},
        "connections.other.secretName is missing",
    ),
    _bad("a connection that is to be filled in", {"connections": {"cache": {"secretName": ""}}}, "existing Secret"),
    _bad("an app's name that is no DNS label", {"apps": {"My_Shop": {}}}, "apps.My_Shop", "lower case"),
    _bad("a tag for a digest", {"image": {"digest": "latest"}}, "image.digest", "sha256:", "image.tag"),
    _bad("a tag in a repository", {"image": {"repository": "r:5000/fish:1"}}, "image.repository", "image.tag"),
    _bad("fewest above most", _shop(scaling={"minReplicas": 30}), "scaling.minReplicas: 30", "raise maxReplicas"),
    _bad(
        "pub/sub in two instances",
        {"apps": {"audit": {"scaling": {"maxReplicas": 2}}}},
        "apps.audit.scaling.maxReplicas: 2",
        "one instance",
        "Remove it",
        good=PUBSUB,
    ),
    _bad("metricType Value", _shop(scaling={"metricType": "Value"}), "scaling.metricType", "Value", "remove it"),
    _bad("half a fallback", _shop(scaling={"fallback": {"replicas": 2}}), "fallback", "give both", good=TLS),
    _bad(
        "a secret in a trigger", _order(connectionString="redis:6379,password=x"), "connectionString", "into a Secret"
    ),
    _bad("an unknown connection", _order(connection="cash"), 'no connection "cash"', "add it to connections"),
    _bad("no connection at all", _shop(triggers={"new": ORDERS}), "names no connection", "connection.secretName"),
    _bad("an app without an image", _shop(image={"repository": ""}), "apps.shop.image.repository is missing"),
    _bad("an image without a tag", _shop(image={"tag": ""}), "apps.shop.image.tag is missing", "digest"),
    _bad("an app without code", _shop(app=""), "apps.shop.app is missing", "shop.py"),
    _bad(
        "an app without triggers",
        {"apps": {"new": {**ONE_APP["apps"]["shop"], "triggers": {}}}},
        "triggerfish manifest",
    ),
    _bad("a name that is taken", {"apps": {"triggerfish-scaler": ONE_APP["apps"]["shop"]}}, "has this name"),
    _bad("the name of the test", {"apps": {"triggerfish-scaler-test": ONE_APP["apps"]["shop"]}}, "has this name"),
    _bad(
        "a service account twice",
        _shop(serviceAccount={"name": "triggerfish-scaler"}),
        "apps.shop.serviceAccount.name: scaler creates",
        "create: false",
    ),
    _bad("a variable twice", _shop(extraEnv=[{"name": "TRIGGERFISH_LOG", "value": "x"}]), "use apps.shop.logLevel"),
    _bad(
        "two default connections",
        {"connection": {"secretName": "a"}, "scaler": {"extraEnv": [{"name": "TRIGGERFISH_CONNECTION", "value": "b"}]}},
        "scaler.extraEnv",
        "use connection.secretName",
    ),
    _bad("a key with a space", _order(keys=["new orders"]), "handle_order.keys", "taken apart", "rename it"),
    _bad(
        "a connection twice", {"valkey": {"enabled": True, "connections": ["cache"]}}, "valkey.connections", "keep one"
    ),
    _bad("TLS without a Secret", {"tls": {"secretName": ""}}, "tls.secretName is missing", "certManager", good=TLS),
    _bad("mutual TLS without KEDA's", {"tls": {"mutual": True}}, "tls.clientSecretName is missing", good=TLS),
    _bad("mutual TLS without TLS", {"tls": {"enabled": False}}, "tls.mutual needs tls.enabled", good=MTLS),
    _bad(
        "certificates of nobody",
        {"tls": {"certManager": {"issuerRef": {"name": ""}}}},
        "issuerRef.name is missing",
        good=MTLS,
    ),
    _bad("no scaler anywhere", {"scaler": {"address": ""}}, "scaler.address is missing", "such as", good=APPS_ONLY),
    _bad(
        "a CA of nobody",
        {"tls": {"mutual": False, "clientSecretName": ""}},
        "tls.secretName is missing",
        "ca.crt",
        good=APPS_ONLY,
    ),
)
