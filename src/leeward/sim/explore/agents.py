"""The shipped agents' machines as a finite step function: state number and event in, state number and actions out.

Always true: a step is computed once. What a machine remembers is read out of it after a step, put into one canonical
form and numbered; equal memories have one number. To go on from a number, its memory is put back into the machine.
Whatever attribute a machine or one of its parts has is taken for memory, unless CONSTANT names it, so a field that is
added to the product is explored, too. IRRELEVANT names what no decision of this model depends on.
"""

from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, NamedTuple

from leeward.agent.machine import actions as do
from leeward.agent.machine import events as on
from leeward.agent.machine.machine import Machine
from leeward.core.settings import AgentSettings
from leeward.core.values import Region

CONSTANT = frozenset(
    [
        "settings",
        "me",
        "timers",
        "apps",
        "fleet",
        "_regions",
        "_heartbeat_keys",
        "_progress_keys",
        "_serves",
        "_fence_key",
        "_key",
        "_me",
        "_probes",
        "_timers",
        "_settings",
        "_fleet",
        "_timeout_s",
        "_nearest",
        "_apps",
        "_preferred",
    ]
)
IRRELEVANT: Mapping[str, object] = {
    # Of the last event only.
    "actions": None,
    "now_s": 0.0,
    "unix_s": 0.0,
    # For the log, its readers, and gateways.
    "because": "",
    "news": 0,
    "records": None,
    "decision_keys": None,
    "undecodable": None,
    "heard_at_s": 0.0,
    "rejoin_recorded": None,
    "routed_epoch": 0,
    "_routes": None,
    "_number": 0,
    "_sequence": 0,
    # Standbys of this model are at most a step behind, which no history of lags would show.
    "lag_history": None,
}
CONTAINERS = (dict, list, set, deque)
SCALARS = frozenset((str, int, float, bool, type(None)))

MachineFactory = Callable[[AgentSettings, str], Machine]


class Stepped(NamedTuple):
    """What a step led to."""

    state: int
    actions: tuple[do.Action, ...]


class _Memory(NamedTuple):
    """What one machine remembers, attribute by attribute, and the number of each value."""

    values: tuple[Any, ...]
    numbers: tuple[Any, ...]


class Agents:
    """The machines of all regions, and every step that they were seen to take."""

    def __init__(self, settings: Mapping[Region, AgentSettings], make: MachineFactory = Machine) -> None:
        self.settings = settings
        self._make = make
        self._machines = {region: make(settings[region], "0") for region in settings}
        self._attributes = {region: _attributes(machine) for region, machine in self._machines.items()}
        self._numbers = Numbers()
        self._states: dict[Hashable, int] = {}
        self._memories: list[_Memory] = []
        self._leases: list[float] = []
        self._steps: dict[tuple[int, str, float], Stepped] = {}
        self._loaded: dict[Region, tuple[Any, ...]] = {}
        """What each machine holds now, value by value."""

    @property
    def steps(self) -> int:
        """How many different steps were taken."""
        return len(self._steps)

    def fresh(self, region: Region, life: int) -> int:
        """Return the state of an agent that has just started."""
        values = tuple(getattr(part, name) for part, name in _attributes(self._make(self.settings[region], str(life))))
        return self._number(region, _Memory(values, tuple(self._numbers.of(value) for value in values)))

    def lease_until_s(self, state: int) -> float:
        """Return until when an agent in this state holds its region's lease."""
        return self._leases[state]

    def step(self, region: Region, state: int, event: on.Event, now_s: float) -> Stepped:
        """Let an agent handle an event."""
        key = (state, self._numbers.of(event), now_s)
        found = self._steps.get(key)
        if found is None:
            found = self._steps[key] = self._step(region, state, event, now_s)
        return found

    def machine(self, region: Region, state: int) -> Machine:
        """Return the machine in a state; it is valid until the next call."""
        values = self._memories[state].values
        loaded = self._loaded.get(region, (None,) * len(values))
        for (part, name), value, held in zip(self._attributes[region], values, loaded, strict=True):
            if value is not held or value is None:
                setattr(part, name, value.copy() if isinstance(value, CONTAINERS) else value)
        self._loaded[region] = values
        return self._machines[region]

    def _step(self, region: Region, state: int, event: on.Event, now_s: float) -> Stepped:
        machine, before = self.machine(region, state), self._memories[state]
        del self._loaded[region]
        actions = tuple(machine.handle(event, now_s, now_s))
        _forget(self._attributes[region])
        renumber(machine)
        values, numbers = [], []
        for (part, name), old, number in zip(self._attributes[region], before.values, before.numbers, strict=True):
            value = getattr(part, name)
            # Most of it is as it was, and comparing is much cheaper than numbering.
            same = value is old or value == old
            values.append(old if same else value.copy() if isinstance(value, CONTAINERS) else value)
            numbers.append(number if same else self._numbers.of(value))
        self._loaded[region] = tuple(values)
        return Stepped(self._number(region, _Memory(tuple(values), tuple(numbers))), actions)

    def _number(self, region: Region, memory: _Memory) -> int:
        key = (region, memory.numbers)
        known = self._states.get(key)
        if known is None:
            known = self._states[key] = len(self._memories)
            self._memories.append(memory)
            names = [name for _, name in self._attributes[region]]
            self._leases.append(memory.values[names.index("lease_until_s")])
        return known


class Numbers:
    """One number for equal values, whatever their identity: dictionaries without their order."""

    def __init__(self) -> None:
        self._of: dict[Hashable, str] = {}
        self._frozen: dict[int, tuple[object, str]] = {}
        self._fields: dict[type, tuple[str, ...]] = {}

    def of(self, value: Any) -> Any:
        """Return a number, or the value itself where it is a plain one."""
        if type(value) in SCALARS:
            return value
        known = self._frozen.get(id(value))
        if known is not None and known[0] is value:
            return known[1]
        kind = type(value)
        if isinstance(value, Enum):
            return value.value
        match value:
            case dict():
                key: tuple[Hashable, ...] = ("dict", *sorted((self._plain(k), self.of(v)) for k, v in value.items()))
            case tuple() | list() | deque():
                key = ("list", *(self.of(each) for each in value))
            case set() | frozenset():
                key = ("set", *sorted(self._plain(each) for each in value))
            case _ if is_dataclass(kind):
                names = self._fields.get(kind)
                if names is None:
                    names = self._fields[kind] = tuple(each.name for each in fields(kind))
                key = (kind.__name__, *(self.of(getattr(value, name)) for name in names))
            case _:
                raise TypeError(f"the explorer cannot tell states apart that hold a {kind.__name__}")
        number = self._of.setdefault(key, f"#{len(self._of)}")
        if kind in self._fields:
            # Values of the protocol are never changed, only replaced. Kept, so that no other one gets their identity.
            self._frozen[id(value)] = (value, number)
        return number

    def _plain(self, key: Any) -> str:
        return str(key.value) if isinstance(key, Enum) else str(key)


def _attributes(machine: Machine) -> tuple[tuple[Any, str], ...]:
    """Return whatever is memory: of the machine, of its application (there is one here), and of its parts."""
    (application,) = machine.apps.values()
    parts: list[Any] = [machine, application]
    for part in parts:
        parts += [each for each in _held(part).values() if _is_part(each) and all(each is not known for known in parts)]
    return tuple(
        (part, name)
        for part in parts
        for name, value in sorted(_held(part).items())
        if name not in CONSTANT and not _is_part(value)
    )


def _held(part: Any) -> dict[str, Any]:
    names = [each.name for each in fields(part)] if is_dataclass(part) else list(vars(part))
    return {name: getattr(part, name) for name in names}


def _is_part(value: Any) -> bool:
    """Whether it is a part of the agent that changes, and not a value."""
    kind = type(value)
    frozen = is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    return kind.__module__.startswith("leeward.agent.") and not frozen and not isinstance(value, Enum)


def _forget(attributes: tuple[tuple[Any, str], ...]) -> None:
    """Take out what decides nothing, so that worlds which differ in nothing else are one."""
    for part, name in attributes:
        if name in IRRELEVANT:
            held = getattr(part, name)
            if isinstance(held, CONTAINERS):
                held.clear()
            else:
                setattr(part, name, IRRELEVANT[name])


def renumber(machine: Machine) -> None:
    """Begin again to number transactions while none is under way: numbers only tell answers apart."""
    (application,) = machine.apps.values()
    heartbeats, decision_log = machine._heartbeats, machine._decision_log
    under_way = (
        heartbeats._beats,
        decision_log._pending,
        machine._requests,
        application.proposing,
        application.promising,
    )
    if not any(under_way) and decision_log._trimming is None:
        machine._out._numbers = 0
