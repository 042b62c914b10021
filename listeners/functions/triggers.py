"""The three triggers: their parameters, with the names and defaults of Azure Functions' Redis extension, and limits."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from listeners.keys import is_own_message

__all__ = [
    "DEFAULT_BATCH_SIZE",
    "DEFAULT_CALL_TIMEOUT_SECONDS",
    "DEFAULT_CONCURRENCY",
    "DEFAULT_CONSUMER_GROUP",
    "DEFAULT_MAX_DELIVERIES",
    "DEFAULT_MESSAGES_PER_WORKER",
    "DEFAULT_POLLING_INTERVAL_MS",
    "MAX_BATCH_SIZE",
    "MAX_MESSAGES_PER_WORKER",
    "ConnectedTrigger",
    "ListTrigger",
    "PolledTrigger",
    "PubSubTrigger",
    "StreamTrigger",
    "Trigger",
    "WholeNumber",
    "keys_read",
]

# As in Azure Functions.
DEFAULT_CONSUMER_GROUP = "AzureFunctionRedisExtension"
DEFAULT_POLLING_INTERVAL_MS = 1000
DEFAULT_MESSAGES_PER_WORKER = 100
DEFAULT_BATCH_SIZE = 10
DEFAULT_CALL_TIMEOUT_SECONDS = 1800
# Azure Functions handles the messages of one subscription one after the other.
DEFAULT_CONCURRENCY = 1
# Without a counterpart there.
DEFAULT_MAX_DELIVERIES = 5
MAX_BATCH_SIZE = 10_000
MAX_MESSAGES_PER_WORKER = 1_000_000_000
MAX_DELIVERIES = 1_000_000
MAX_CONCURRENCY = 10_000
MAX_POLLING_INTERVAL_MS = 3_600_000
MAX_BATCH_WINDOW_MS = 300_000
MAX_KEYS = 100
MAX_CALL_TIMEOUT_SECONDS = 86_400
CONCURRENCY = (
    "the maximum number of concurrent calls in one instance; 1 handles entries one after the other. By default, it is "
    "batch_size, or one batch for a function that takes a list, and 1 for pub/sub"
)


def _whole_number(value: object) -> object:
    """Reject what pydantic would silently convert to an integer: true, 1.0, ' 5 '."""
    if isinstance(value, bool | float):
        raise ValueError("give a whole number")
    if isinstance(value, str) and not value.isdecimal() and not (value[:1] == "-" and value[1:].isdecimal()):
        raise ValueError("give a whole number")
    return value


def _seconds(value: object) -> object:
    """Reject what pydantic would silently convert to a number: true, ' 5 ', '1e3'."""
    if isinstance(value, bool) or (isinstance(value, str) and not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value)):
        raise ValueError("give a number of seconds")
    return value


def _split_keys(value: object) -> object:
    """Split keys given as text separated by spaces; reject blank and repeated keys."""
    keys = value.split() if isinstance(value, str) else value
    if not isinstance(keys, list | tuple) or not all(isinstance(key, str) for key in keys):
        raise ValueError("give text with spaces between the keys, or a list of text")
    if not keys or not all(key.strip() for key in keys):
        raise ValueError("a key is empty")
    if len(set(keys)) != len(keys):
        raise ValueError("a key is listed twice")
    return tuple(keys)


def _not_blank(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise ValueError("it is empty")
    return value


def _connection_name(value: object) -> object:
    """Reject a connection string given as a name, because errors and pages show names."""
    if isinstance(value, str) and re.search(r"[\s=:,@]", value.strip()):
        raise ValueError("it is not a connection name; use connection_string for an address")
    return _not_blank(value)


def _foreign_channel(value: object) -> object:
    """Reject a channel of which no function ever gets a message."""
    if isinstance(value, str) and is_own_message(value, b""):
        raise ValueError("no function receives messages about Triggerfish's own keys")
    return _not_blank(value)


WholeNumber = Annotated[int, BeforeValidator(_whole_number)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
Concurrency = Annotated[int, Field(ge=1, le=MAX_CONCURRENCY), BeforeValidator(_whole_number)]
Text = Annotated[str, BeforeValidator(_not_blank)]
Channel = Annotated[str, BeforeValidator(_foreign_channel)]
Keys = Annotated[tuple[str, ...], BeforeValidator(_split_keys), Field(max_length=MAX_KEYS)]


class ConnectedTrigger(BaseModel):
    """What every trigger says about Redis. `type_name` is its type where it is written as text."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    type_name: ClassVar[str]

    connection_string: Annotated[SecretStr | None, BeforeValidator(_not_blank)] = Field(
        default=None, description="the address of Redis, as host:port,option=value or a URL"
    )
    connection: Annotated[str | None, BeforeValidator(_connection_name)] = Field(
        default=None, description="the name of a connection defined in the settings"
    )

    @model_validator(mode="after")
    def _one_connection(self) -> "ConnectedTrigger":
        if self.connection is not None and self.connection_string is not None:
            raise ValueError("connection and connection_string exclude each other: give one")
        return self


class _BaseTrigger(ConnectedTrigger):
    # Functions migrated from Azure may rely on its default functionTimeout, 30 minutes.
    call_timeout_seconds: Seconds = Field(
        default=DEFAULT_CALL_TIMEOUT_SECONDS,
        ge=0.1,
        le=MAX_CALL_TIMEOUT_SECONDS,
        description="the time limit of one call, in seconds, after which it counts as failed; 30 minutes by default, "
        "like functionTimeout in Azure Functions",
    )


class PolledTrigger(_BaseTrigger):
    """Parameters shared by list and stream triggers."""

    keys: Keys = Field(description="the list of keys to read, or text with spaces between them")
    polling_interval_ms: WholeNumber = Field(
        default=DEFAULT_POLLING_INTERVAL_MS,
        ge=1,
        le=MAX_POLLING_INTERVAL_MS,
        description="the longest pause between two polls where Redis does not report changes, in milliseconds",
    )
    messages_per_worker: WholeNumber = Field(
        default=DEFAULT_MESSAGES_PER_WORKER,
        ge=1,
        le=MAX_MESSAGES_PER_WORKER,
        description="the backlog per instance that the scaler aims for, in entries",
    )
    batch_size: WholeNumber = Field(
        default=DEFAULT_BATCH_SIZE,
        ge=1,
        le=MAX_BATCH_SIZE,
        description="the maximum number of entries taken at once, and of one call of a function that takes a list",
    )
    concurrency: Concurrency | None = Field(default=None, description=CONCURRENCY)
    batch_window_ms: WholeNumber = Field(
        default=0,
        ge=0,
        le=MAX_BATCH_WINDOW_MS,
        description="how long a function that takes a list waits for a full batch, from the first entry on, in "
        "milliseconds",
    )
    max_deliveries: WholeNumber = Field(
        default=DEFAULT_MAX_DELIVERIES,
        ge=1,
        le=MAX_DELIVERIES,
        description="the number of deliveries before an entry is dead-lettered",
    )

    @field_validator("batch_window_ms")
    @classmethod
    def _not_for_one_entry(cls, value: int, info: ValidationInfo) -> int:
        if value and info.data.get("batch_size") == 1:
            raise ValueError("a batch of one entry is always full. Remove it, or allow larger batches")
        return value


class ListTrigger(PolledTrigger):
    """Calls a function for elements of one or more lists (RedisListTrigger in Azure Functions)."""

    kind: ClassVar[Literal["list"]] = "list"
    type_name: ClassVar[str] = "RedisListTrigger"

    list_pop_from_beginning: bool = Field(
        default=True, description="whether to take elements from the beginning of the list or from its end"
    )
    delivery: Literal["at-least-once", "at-most-once"] = Field(
        default="at-least-once",
        description="the delivery guarantee: at-least-once leases elements until they are settled, at-most-once pops "
        "them (LPOP, RPOP or LMPOP, as in Azure Functions)",
    )

    @property
    def reads(self) -> str:
        """A short description of what it reads."""
        return f"list {' '.join(self.keys)}"


class StreamTrigger(PolledTrigger):
    """Calls a function for entries of one or more streams, read by a consumer group (RedisStreamTrigger in Azure)."""

    kind: ClassVar[Literal["stream"]] = "stream"
    type_name: ClassVar[str] = "RedisStreamTrigger"

    consumer_group: Text = Field(default=DEFAULT_CONSUMER_GROUP, description="the name of the consumer group")
    delete_after_process: bool = Field(
        default=False, description="whether to delete an entry from its stream when it is acknowledged or dead-lettered"
    )

    @property
    def reads(self) -> str:
        """A short description of what it reads."""
        return f"stream {' '.join(self.keys)} as {self.consumer_group}"


class PubSubTrigger(_BaseTrigger):
    """Calls a function for messages on a channel, or on all that match a pattern (RedisPubSubTrigger in Azure)."""

    kind: ClassVar[Literal["pubsub"]] = "pubsub"
    type_name: ClassVar[str] = "RedisPubSubTrigger"

    channel: Channel = Field(description="the name of the channel, or a glob pattern as in PSUBSCRIBE")
    pattern: bool | None = Field(
        default=None,
        description="whether channel is a pattern; by default, it is if it contains an unescaped *, ? or [",
    )
    singleton: bool = Field(
        default=True, description="whether only one instance subscribes, the one that holds a lease"
    )
    concurrency: Concurrency = Field(default=DEFAULT_CONCURRENCY, description=CONCURRENCY)

    @property
    def reads(self) -> str:
        """A short description of what it reads."""
        return f"{'pattern' if self.is_pattern else 'channel'} {self.channel}"

    @property
    def is_pattern(self) -> bool:
        """Whether to subscribe with PSUBSCRIBE."""
        return self.pattern if self.pattern is not None else _has_glob(self.channel)


Trigger = ListTrigger | StreamTrigger | PubSubTrigger


def _has_glob(channel: str) -> bool:
    escaped = False
    for character in channel:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character in "*?[":
            return True
    return False


def keys_read(trigger: ListTrigger | StreamTrigger, *, multi_pop: bool) -> tuple[str, ...]:
    """Return the keys that are read: all, but without LMPOP (before Redis 7.0) only the first of a list trigger with
    at-most-once delivery.
    """
    only_first = isinstance(trigger, ListTrigger) and trigger.delivery == "at-most-once" and not multi_pop
    return trigger.keys[:1] if only_first else trigger.keys
