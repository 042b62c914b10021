"""The states of an instance that reads a pub/sub trigger, and the transitions between them. No I/O."""

import asyncio
from enum import StrEnum

__all__ = ["State", "StateMachine"]


class State(StrEnum):
    """What an instance is doing. Without a lease it counts as the holder."""

    #: Stands by: it has no lease, and discards messages that are still in transit.
    WAITING = "waiting"
    #: Subscribed, but discards messages until the marker arrives, which the holder sees as well.
    TAKING_OVER = "taking over"
    #: Holds the lease, but is not subscribed yet, or no longer.
    SUBSCRIBING = "subscribing"
    #: Holds the lease and accepts messages.
    HOLDING = "holding"
    #: Drains, and still accepts messages.
    HANDING_OVER = "handing over"
    #: Has released the lease, and accepts the messages before the notice of it.
    RELEASED = "released"
    #: Accepts nothing any more. No transition leads out of it.
    ENDED = "ended"


#: The states of the holder before it drains.
HOLDER = frozenset({State.SUBSCRIBING, State.HOLDING})
ACCEPTING = frozenset({State.HOLDING, State.HANDING_OVER, State.RELEASED})
DRAINING = frozenset({State.HANDING_OVER, State.RELEASED, State.ENDED})


class StateMachine:
    """The state of one instance, with a method for each transition.

    | method | from | to | when |
    |---|---|---|---|
    | acquired | WAITING | SUBSCRIBING | the lease was granted, or none is needed |
    | confirmed | SUBSCRIBING | HOLDING | the server has confirmed the subscription |
    | disconnected | HOLDING | SUBSCRIBING | the subscription was closed |
    | disconnected | TAKING_OVER | WAITING | the subscription was closed |
    | take_over | WAITING | TAKING_OVER | the holder drains |
    | give_up | TAKING_OVER | WAITING | another instance was faster |
    | marked | TAKING_OVER | HOLDING | the marker of this instance has arrived |
    | lost | SUBSCRIBING, HOLDING | WAITING | the lease ended, or another instance has held it |
    | hand_over | SUBSCRIBING, HOLDING | HANDING_OVER | this instance drains |
    | released | HANDING_OVER | RELEASED | the lease was released |
    | passed_on | HANDING_OVER, RELEASED | ENDED | the next marker, or the notice of the release, has arrived |
    | end | any | ENDED | nothing more can be passed on |

    In ENDED every method does nothing. Elsewhere a transition that is not in the table raises RuntimeError.
    """

    def __init__(self) -> None:
        self._state = State.WAITING
        self._entered = {state: asyncio.Event() for state in State}
        self._entered[self._state].set()
        #: Whether no other instance gets the messages that were accepted; decided while draining.
        self.owns_messages = True

    @property
    def state(self) -> State:
        """The current state."""
        return self._state

    @property
    def is_holder(self) -> bool:
        """Whether this instance holds the lease and does not drain."""
        return self._state in HOLDER

    @property
    def accepts(self) -> bool:
        """Whether messages that arrive now are for this instance."""
        return self._state in ACCEPTING

    @property
    def drains(self) -> bool:
        """Whether this instance is passing on the lease, or has ended."""
        return self._state in DRAINING

    def entered(self, state: State) -> asyncio.Event:
        """Return an event that is set while this is the current state."""
        return self._entered[state]

    def acquired(self) -> None:
        """The lease was granted, or none is needed."""
        self._move(State.SUBSCRIBING, State.WAITING)

    def confirmed(self) -> None:
        """The server has confirmed the subscription. On a cluster every primary does, also later on."""
        if self._state is State.SUBSCRIBING:
            self._move(State.HOLDING, State.SUBSCRIBING)

    def disconnected(self) -> None:
        """The subscription was closed, by either side."""
        if self._state is State.HOLDING:
            self._move(State.SUBSCRIBING, State.HOLDING)
        elif self._state is State.TAKING_OVER:
            self._move(State.WAITING, State.TAKING_OVER)

    def take_over(self) -> None:
        """The holder drains, and this instance tries to succeed it."""
        self._move(State.TAKING_OVER, State.WAITING)

    def give_up(self) -> None:
        """Another instance has succeeded the holder."""
        self._move(State.WAITING, State.TAKING_OVER)

    def marked(self) -> None:
        """The marker has arrived: from now on messages are for this instance."""
        self._move(State.HOLDING, State.TAKING_OVER)

    def lost(self) -> None:
        """The lease ended, and another instance may have received the same messages."""
        self._move(State.WAITING, *HOLDER)

    def hand_over(self, *, owns_messages: bool) -> None:
        """This instance drains and passes on the lease."""
        self._move(State.HANDING_OVER, *HOLDER)
        self.owns_messages = owns_messages

    def released(self) -> None:
        """The lease was released, so it was held until then."""
        if self._move(State.RELEASED, State.HANDING_OVER):
            self.owns_messages = True

    def passed_on(self) -> None:
        """Messages so far are for this instance alone, and later ones for another."""
        if self._move(State.ENDED, State.HANDING_OVER, State.RELEASED):
            self.owns_messages = True

    def end(self, *, owns_messages: bool) -> None:
        """Accept nothing any more."""
        if self._move(State.ENDED, *State):
            self.owns_messages = owns_messages

    def _move(self, to: State, *origins: State) -> bool:
        """Change the state. Return whether it has changed, as it does not in ENDED."""
        if self._state is State.ENDED:
            return False
        if self._state not in origins:
            raise RuntimeError(f"a transition to {to.value!r} is not allowed from {self._state.value!r}")
        self._entered[self._state].clear()
        self._state = to
        self._entered[to].set()
        return True
