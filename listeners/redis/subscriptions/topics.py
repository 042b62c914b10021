"""Which subscribers of a shared connection get the messages of a channel or pattern. No I/O."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from listeners.redis.subscriptions.subscription import Message

__all__ = ["Subscriber", "Subscribing", "Topics"]


@dataclass(eq=False, slots=True)
class Subscriber:
    """One of those that share a connection.

    `on_message` returns whether other tasks must run before the next message, because many messages are queued.
    `on_end` is called when the connection ends before the subscriber leaves.
    """

    on_message: Callable[[Message], bool]
    on_end: Callable[[], object]


@dataclass(eq=False, slots=True)
class Subscribing:
    """A subscriber that awaits the confirmation of its subscriptions. `then` is called for each."""

    subscriber: Subscriber
    then: Callable[[], object]


class Topics:
    """The subscribers of each channel, or of each pattern."""

    def __init__(self) -> None:
        self._topics: dict[bytes, _Topic] = {}

    def add(self, name: bytes, subscribing: Subscribing) -> None:
        """Add a subscriber, which gets no messages until confirm()."""
        self._topics.setdefault(name, _Topic()).set(subscribing.subscriber, subscribing)

    def confirm(self, name: bytes, subscribing: Subscribing) -> None:
        """Pass messages to the subscriber from now on, unless it was removed since, or added again."""
        topic = self._topics.get(name)
        if topic is not None and topic.subscribers.get(subscribing.subscriber) is subscribing:
            topic.set(subscribing.subscriber, None)
            subscribing.then()

    def remove(self, subscriber: Subscriber, names: Iterable[bytes] | None = None) -> list[bytes]:
        """Remove a subscriber from these topics, by default from all. Return those that have no subscriber left."""
        unused = []
        for name in list(self._topics) if names is None else names:
            topic = self._topics.get(name)
            if topic is not None and topic.remove(subscriber) and not topic.subscribers:
                del self._topics[name]
                unused.append(name)
        return unused

    def pass_on(self, name: bytes, message: Message) -> tuple[int, bool]:
        """Pass a message to its subscribers. Return for how many it counts, and whether other tasks must run now."""
        topic = self._topics.get(name)
        if topic is None:  # it was on its way when the last subscriber unsubscribed
            return 1, False
        wants_turn = False
        for receive in topic.receivers:
            wants_turn |= receive(message)
        return len(topic.receivers) or 1, wants_turn


class _Topic:
    """The subscribers of one channel or pattern, each with its subscription if that awaits confirmation."""

    __slots__ = ("receivers", "subscribers")

    def __init__(self) -> None:
        self.subscribers: dict[Subscriber, Subscribing | None] = {}
        #: Called with each message.
        self.receivers: tuple[Callable[[Message], bool], ...] = ()

    def set(self, subscriber: Subscriber, awaited: Subscribing | None) -> None:
        self.subscribers[subscriber] = awaited
        self._update()

    def remove(self, subscriber: Subscriber) -> bool:
        """Return whether it was a subscriber."""
        if subscriber not in self.subscribers:
            return False
        del self.subscribers[subscriber]
        self._update()
        return True

    def _update(self) -> None:
        self.receivers = tuple([one.on_message for one, awaited in self.subscribers.items() if awaited is None])
