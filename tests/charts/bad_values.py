"""Values that the chart must refuse, and phrases that the error message must contain."""

from dataclasses import dataclass
from typing import Any

from tests.charts.rendering import chart_values, merged

__all__ = ["BAD_VALUES", "BadValues"]

ONE_APP = chart_values("one-app")
PUBSUB = chart_values("pubsub-only")
TLS = chart_values("tls")
MTLS = chart_values("mtls-cert-manager")
APPS_ONLY = chart_values("apps-only")
QUEUES = chart_values("queues")

SECRET = "hunter2"
ORDERS = {"type": "RedisListTrigger", "keys": "orders"}


@dataclass(frozen=True)
class BadValues:
    """A mistake: an override for good values, and phrases of the error message."""

    mistake: str
    override: dict[str, Any]
    phrases: tuple[str, ...]
    good: dict[str, Any]

    @property
    def values(self) -> dict[str, Any]:
        """The good values with the mistake."""
        return merged(self.good, self.override)


def _shop(**app: object) -> dict[str, Any]:
    return {"apps": {"shop": app}}


def _order(**trigger: object) -> dict[str, Any]:
    return _shop(triggers={"handle_order": trigger})


def _bad(mistake: str, override: dict[str, Any], *phrases: str, good: dict[str, Any] = ONE_APP) -> BadValues:
    return BadValues(mistake, override, phrases, good)


def _mails(**app: object) -> dict[str, Any]:
    return {"apps": {"mails": app}}


BAD_VALUES = (
    # rejected by the schema
    _bad("text instead of a number", {"scaler": {"replicas": "two"}}, "/scaler/replicas", "integer"),
    _bad("an unknown key", {"scaler": {"replicaCount": 2}}, "/scaler", "'replicaCount' not allowed"),
    _bad("an unknown key of an app", _shop(replicas=2), "/apps/shop", "'replicas' not allowed"),
    _bad("an unknown setting", {"scaler": {"settings": {"bound": 1}}}, "/scaler/settings", "'bound' not allowed"),
    _bad("a setting that the chart controls", {"scaler": {"settings": {"grpc_port": 1}}}, "'grpc_port' not allowed"),
    _bad(
        "a connection string instead of a Secret",
        {"connections": {"other": "redis:6379"}},
        "/connections/other",
        "object",
    ),
    _bad("a queue of an unknown type", _mails(queue={"type": "Celery"}), "/apps/mails/queue/type", good=QUEUES),
    _bad("an unknown field of a queue", _mails(queue={"listName": "x"}), "'listName' not allowed", good=QUEUES),
    _bad(
        "a queue without a type",
        {"apps": {"other": {"image": {"repository": "other", "tag": "1"}, "queue": {"connection": "broker"}}}},
        "apps.other.queue.type",
        good=QUEUES,
    ),
    _bad("a queue and an app", _mails(app="shop.py"), "apps.mails.app", "apps.mails.queue", good=QUEUES),
    _bad("a queue and triggers", _mails(triggers={"f": ORDERS}), "apps.mails.triggers", "Remove one", good=QUEUES),
    _bad("a command of Triggerfish", _shop(command=["sh"]), "apps.shop.command", "no queue"),
    _bad(
        "an unknown connection of a queue",
        _mails(queue={"connection": "x"}),
        "apps.mails.queue.connection",
        good=QUEUES,
    ),
    _bad("a trigger of an unknown type", _order(type="RedisSetTrigger"), "handle_order/type", "RedisListTrigger"),
    _bad("a list without keys", _shop(triggers={"new": {"type": "RedisListTrigger"}}), "/triggers/new", "'keys'"),
    _bad("a stream without keys", _shop(triggers={"new": {"type": "RedisStreamTrigger"}}), "/triggers/new", "'keys'"),
    _bad("pub/sub without a channel", _shop(triggers={"new": {"type": "RedisPubSubTrigger"}}), "'channel'"),
    _bad("a misspelled parameter", _order(messagesPerWorkers=5), "'messagesPerWorkers' not allowed"),
    _bad("a parameter of another type", _order(consumerGroup="x"), "'consumerGroup' not allowed"),
    _bad("zero messages per worker", _order(messagesPerWorker=0), "messagesPerWorker", "minimum"),
    _bad("a port out of range", {"networkPolicy": {"redisPorts": [99999]}}, "/networkPolicy/redisPorts/0"),
    _bad("an unknown kind of lease", _shop(pubsubLease="auto"), "/apps/shop/pubsubLease", "kubernetes"),
    # rejected by the templates
    _bad(
        "a connection without a Secret",
        {"connections": {"other": {"key": "x"}}},
        "connections.other.secretName is missing",
    ),
    _bad(
        "a Secret with a password, without an address",
        {"connections": {"other": {"passwordSecret": "x"}}},
        "connections.other.address is missing",
        "host:port",
    ),
    _bad(
        "a password in an address",
        {"connections": {"other": {"passwordSecret": "x", "address": "redis:6379,password=hunter2"}}},
        "connections.other.address contains a password",
        "passwordSecret",
    ),
    *(
        _bad(
            f"an address that may be a password, form {number}",
            {"connections": {"other": {"passwordSecret": "x", "address": address}}},
            "connections.other.address",
            "value is not shown",
            "user=shop",
        )
        for number, address in enumerate(
            (
                SECRET,
                f"redis://{SECRET}@cache",
                f"cache:1,pwd={SECRET}",
                f"cache:1,{SECRET}",
                f"cache:1,ssl=True,{SECRET}",
            )
        )
    ),
    _bad(
        "two kinds of Secret for one connection",
        {"connections": {"other": {"secretName": "x", "passwordSecret": "y", "address": "redis:6379"}}},
        "connections.other has secretName together with",
    ),
    _bad(
        "a default Secret with a password, without an address",
        {"connection": {"passwordSecret": "x"}},
        "connection.address is missing",
    ),
    _bad("a default connection without a Secret", {"connection": {"key": "x"}}, "connection.secretName is missing"),
    _bad(
        "two default connections, one with only a password in its Secret",
        {
            "connection": {"passwordSecret": "a", "address": "redis:6379"},
            "scaler": {"extraEnv": [{"name": "TRIGGERFISH_CONNECTION", "value": "b"}]},
        },
        "scaler.extraEnv",
        "Remove TRIGGERFISH_CONNECTION",
    ),
    _bad("a connection that is not filled in", {"connections": {"cache": {"secretName": ""}}}, "existing Secret"),
    _bad("an app name that is not a DNS label", {"apps": {"My_Shop": {}}}, "apps.My_Shop", "lowercase"),
    _bad("a tag instead of a digest", {"image": {"digest": "latest"}}, "image.digest", "sha256:", "image.tag"),
    _bad("a tag in a repository", {"image": {"repository": "r:5000/fish:1"}}, "image.repository", "image.tag"),
    _bad(
        "a minimum above the maximum",
        _shop(scaling={"minReplicas": 30}),
        "scaling.minReplicas: 30",
        "raise maxReplicas",
    ),
    _bad(
        "pub/sub in two instances",
        {"apps": {"audit": {"scaling": {"maxReplicas": 2}}}},
        "apps.audit.scaling.maxReplicas is 2",
        "one instance",
        "Remove it",
        good=PUBSUB,
    ),
    _bad("metricType Value", _shop(scaling={"metricType": "Value"}), "scaling.metricType", "Value", "Remove it"),
    _bad("half a fallback", _shop(scaling={"fallback": {"replicas": 2}}), "fallback", "Set both", good=TLS),
    _bad(
        "a secret in a trigger", _order(connectionString="redis:6379,password=x"), "connectionString", "into a Secret"
    ),
    _bad("an unknown connection", _order(connection="cash"), 'no connection "cash"', "Add it to connections"),
    _bad("no connection", _shop(triggers={"new": ORDERS}), "names no connection", "connection.secretName"),
    _bad("an app without an image", _shop(image={"repository": ""}), "apps.shop.image.repository is missing"),
    _bad("an image without a tag", _shop(image={"tag": ""}), "apps.shop.image.tag is missing", "digest"),
    _bad("an app without code", _shop(app=""), "apps.shop.app is missing", "shop.py"),
    _bad(
        "an app without triggers",
        {"apps": {"new": {**ONE_APP["apps"]["shop"], "triggers": {}}}},
        "triggerfish manifest",
    ),
    _bad("a name that is taken", {"apps": {"triggerfish-scaler": ONE_APP["apps"]["shop"]}}, "has this name"),
    _bad("the name of the test pod", {"apps": {"triggerfish-scaler-test": ONE_APP["apps"]["shop"]}}, "has this name"),
    _bad(
        "a duplicate service account",
        _shop(serviceAccount={"name": "triggerfish-scaler"}),
        "apps.shop.serviceAccount.name: scaler also creates",
        "create: false",
    ),
    _bad(
        "a variable that is given twice",
        _shop(extraEnv=[{"name": "A", "value": "1"}] * 2),
        "apps.shop.extraEnv",
        "twice",
    ),
    _bad(
        "a port that the probes would miss",
        _shop(extraEnv=[{"name": "TRIGGERFISH_HOST__HTTP_PORT", "value": "1"}]),
        "apps.shop.extraEnv",
        "TRIGGERFISH_HOST__HTTP_PORT",
        "probes",
    ),
    _bad(
        "a port that the Service would miss",
        {"scaler": {"extraEnv": [{"name": "triggerfish_scaler__grpc_port", "value": "1"}]}},
        "scaler.extraEnv",
        "Services",
    ),
    _bad("a scaler without an image", {"image": {"repository": ""}}, "image.repository is missing"),
    _bad("a placeholder of Azure Functions", _order(keys="%QUEUE%"), "handle_order.keys", "Write the value itself"),
    _bad("a name that is no DNS label", {"fullnameOverride": "Shop"}, "/fullnameOverride", "pattern"),
    _bad("a section that is removed", {"tls": None}, "'tls'"),
    _bad("a blank channel", _shop(triggers={"new": {"type": "RedisPubSubTrigger", "channel": " "}}), "/new/channel"),
    _bad("a duplicate variable", _shop(extraEnv=[{"name": "TRIGGERFISH_LOG", "value": "x"}]), "Use apps.shop.logLevel"),
    _bad(
        "two default connections",
        {"connection": {"secretName": "a"}, "scaler": {"extraEnv": [{"name": "TRIGGERFISH_CONNECTION", "value": "b"}]}},
        "scaler.extraEnv",
        "Remove TRIGGERFISH_CONNECTION",
    ),
    _bad("a key with a space", _order(keys=["new orders"]), "handle_order.keys", "would be split", "Rename it"),
    _bad(
        "a duplicate connection",
        {"valkey": {"enabled": True, "connections": ["cache"]}},
        "valkey.connections",
        "Remove one",
    ),
    _bad("TLS without a Secret", {"tls": {"secretName": ""}}, "tls.secretName is missing", "certManager", good=TLS),
    _bad("mutual TLS without a client Secret", {"tls": {"mutual": True}}, "tls.clientSecretName is missing", good=TLS),
    _bad("mutual TLS without TLS", {"tls": {"enabled": False}}, "tls.mutual needs tls.enabled", good=MTLS),
    _bad(
        "certificates without an issuer",
        {"tls": {"certManager": {"issuerRef": {"name": ""}}}},
        "issuerRef.name is missing",
        good=MTLS,
    ),
    _bad("no scaler address", {"scaler": {"address": ""}}, "scaler.address is missing", "such as", good=APPS_ONLY),
    _bad(
        "TLS without a CA",
        {"tls": {"mutual": False, "clientSecretName": ""}},
        "tls.secretName is missing",
        "ca.crt",
        good=APPS_ONLY,
    ),
)
