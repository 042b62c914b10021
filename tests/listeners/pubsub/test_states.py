"""The state machine of a pub/sub instance allows what its table lists, and nothing else."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from listeners.pubsub.states import State, StateMachine

#: How to reach each state.
PATHS: dict[State, tuple[str, ...]] = {
    State.WAITING: (),
    State.TAKING_OVER: ("take_over",),
    State.SUBSCRIBING: ("acquired",),
    State.HOLDING: ("acquired", "confirmed"),
    State.HANDING_OVER: ("acquired", "confirmed", "hand_over"),
    State.RELEASED: ("acquired", "confirmed", "hand_over", "released"),
    State.ENDED: ("end",),
}
#: Events that may come at any time, and change nothing in other states.
ANY_TIME = {"confirmed", "disconnected"}


def table() -> dict[tuple[str, State], State]:
    """Return the transitions of the table in the docstring: the target for each method and origin."""
    transitions = {}
    for line in inspect.cleandoc(StateMachine.__doc__ or "").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] != "method":
            origins = list(State) if cells[1] == "any" else [State[name.strip()] for name in cells[1].split(",")]
            transitions.update({(cells[0], origin): State[cells[2]] for origin in origins})
    return transitions


def step(machine: StateMachine, method: str) -> None:
    """Call a method of the machine."""
    call: Callable[..., Any] = getattr(machine, method)
    call(**({"owns_messages": True} if method in {"hand_over", "end"} else {}))


def machine_in(state: State) -> StateMachine:
    """Return a machine in a state."""
    machine = StateMachine()
    for method in PATHS[state]:
        step(machine, method)
    assert machine.state is state
    return machine


METHODS = sorted({method for method, _ in table()})


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("method", METHODS)
async def test_every_transition(method: str, state: State) -> None:
    """A method leads where the table says; otherwise it fails, unless it may come at any time or all has ended."""
    machine = machine_in(state)
    target = table().get((method, state))
    if target is None and method not in ANY_TIME and state is not State.ENDED:
        with pytest.raises(RuntimeError, match=f"not allowed from '{state.value}'"):
            step(machine, method)
    else:
        step(machine, method)
    assert machine.state is (target or state)
    assert [each for each in State if machine.entered(each).is_set()] == [machine.state]


async def test_the_table_lists_every_method() -> None:
    """Each public method that changes the state is in the table."""
    methods = {name for name, _ in inspect.getmembers(StateMachine, inspect.isfunction) if not name.startswith("_")}
    assert methods - {"entered"} == set(METHODS)


@pytest.mark.parametrize(
    ("state", "method"),
    [(State.HANDING_OVER, "passed_on"), (State.HANDING_OVER, "released"), (State.RELEASED, "passed_on")],
)
async def test_what_proves_that_messages_are_not_shared(state: State, method: str) -> None:
    """The marker and the release prove that no other instance gets the messages so far."""
    machine = machine_in(state)
    machine.owns_messages = False
    step(machine, method)
    assert machine.owns_messages


async def test_the_first_end_counts() -> None:
    """What was decided about the messages at the end stays, whatever comes later."""
    machine = machine_in(State.HOLDING)
    machine.end(owns_messages=False)
    machine.end(owns_messages=True)
    assert not machine.owns_messages
