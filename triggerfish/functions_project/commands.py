"""Input and output bindings: commands before and after a call."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from listeners.errors import AppLoadError, BindingError, ConfigurationError
from listeners.text import did_you_mean
from triggerfish.functions_project.app_settings import AppSettings
from triggerfish.functions_project.bindings import Binding, RedisFunction
from triggerfish.functions_project.shapes import data_names
from triggerfish.functions_project.triggers import CONNECTION_NAMES

__all__ = ["InputCommand", "OutputCommand", "commands_of"]

#: What the extension allows: commands that read and have one reply.
READS = frozenset(
    (
        "BITCOUNT", "BITPOS", "DBSIZE", "DUMP", "EXISTS", "EXPIRETIME", "GEODIST", "GET", "GETBIT", "GETRANGE",
        "HEXISTS", "HGET", "HLEN", "HSTRLEN", "LINDEX", "LLEN", "PEXPIRETIME", "PFCOUNT", "PTTL", "RANDOMKEY", "SCARD",
        "SINTERCARD", "SISMEMBER", "STRLEN", "SUBSTR", "TOUCH", "TTL", "TYPE", "XLEN", "ZCARD", "ZCOUNT", "ZDIFF",
        "ZINTERCARD", "ZLEXCOUNT", "ZSCORE",
    )
)  # fmt: skip
#: Those whose reply redis-py would make a number, which has another text.
NUMBERS = ("GEODIST", "ZSCORE")
_NAME = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class InputCommand:
    """A command whose reply is a parameter. `template` has names in braces."""

    name: str
    template: str
    is_binary: bool

    @property
    def has_number(self) -> bool:
        """Whether redis-py would make a number of the reply."""
        return self.template.partition(" ")[0].upper() in NUMBERS

    def arguments(self, data: Mapping[str, str]) -> list[str | bytes]:
        """Return the command for an entry. Spaces separate its arguments, also those in what stands for a name.

        Raises BindingError for a field that the entry does not have.
        """

        def found(match: re.Match[str]) -> str:
            kind, dot, field = match[1].partition(".")
            for name in (f"{kind.lower()}{dot}{field}", match[1].lower()):
                if name in data:
                    return data[name]
            fix = f"The entry has no field {field}. Add it to the entry, or read it in code."
            raise BindingError(f"{self.name}.command", None, fix)

        text = _NAME.sub(found, self.template)
        command, *others = text.split(" ")
        return [command.upper(), *(one.encode("utf-8", "surrogateescape") for one in others)]

    def value(self, reply: Any) -> str | bytes | None:
        """Return what the parameter gets: text, or bytes, or None for a key or field that does not exist."""
        if reply is None:
            return None
        if isinstance(reply, bool):  # as redis-py returns the reply of HEXISTS
            reply = int(reply)
        if isinstance(reply, float):
            reply = f"{reply:.17g}"
        if not isinstance(reply, bytes | str | int):
            fix = f"{self.template.partition(' ')[0]} has more than one reply. Use a command with one."
            raise BindingError(f"{self.name}.command", None, fix)
        raw = reply if isinstance(reply, bytes) else str(reply).encode()
        return raw if self.is_binary else raw.decode("utf-8", "replace")


@dataclass(frozen=True)
class OutputCommand:
    """A command with arguments that a function returns or sets."""

    name: str
    command: str

    def calls(self, value: Any) -> list[list[str | bytes]]:
        """Return the commands for a value: none for None, one for text, several for a list of text.

        Raises BindingError for another value.
        """
        if value is None:
            return []
        values = value if isinstance(value, list | tuple) else [value]
        return [[self.command, *self._arguments(one)] for one in values]

    def _arguments(self, value: Any) -> Sequence[str | bytes]:
        if isinstance(value, str):
            return value.split(" ")
        if isinstance(value, bytes | bytearray):
            return bytes(value).split(b" ")
        fix = f"The arguments of {self.command} are text with spaces between them, bytes, or a list of these."
        raise BindingError(self.name, type(value).__name__, fix)


def commands_of(
    function: RedisFunction, settings: AppSettings, connection: str | None
) -> tuple[list[InputCommand], list[OutputCommand]]:
    """Return the commands around a function's calls, on its trigger's `connection`.

    Raises ConfigurationError for all mistakes.
    """
    inputs: list[InputCommand] = []
    outputs: list[OutputCommand] = []
    problems: list[ConfigurationError] = []
    for binding in (*function.inputs, *function.outputs):
        field = f"{function.field}.{binding.name}"
        try:
            written, command = _command(field, binding, settings, connection)
            if binding.is_output:
                outputs.append(OutputCommand(binding.name, _checked_output(field, written, command)))
            else:
                _check_input(field, written, command, data_names(function.trigger_class))
                inputs.append(InputCommand(binding.name, command, binding.is_binary))
        except ConfigurationError as error:
            problems.append(error)
    if problems:
        raise ConfigurationError.combined(problems)
    return inputs, outputs


def _command(field: str, binding: Binding, settings: AppSettings, connection: str | None) -> tuple[str, str]:
    """Return a command as it is written, which errors show, and with the values of app settings, which may be secret.

    Raises AppLoadError.
    """
    written: object = None
    command: object = None
    for spelling, given in binding.options.items():
        value = settings.resolved(f"{field}.{spelling}", given)
        if spelling.lower() == "command":
            written, command = given, value
        elif spelling.lower() in CONNECTION_NAMES:
            if str(value).lower() != str(connection).lower():
                fix = "A command runs on the connection of the trigger. Give both the same name."
                raise AppLoadError(f"{field}.{spelling}", given, fix)
        else:
            known = ("connection", "command")
            fix = f"A redis binding has no such option. {did_you_mean(spelling, known)}Use {' and '.join(known)}."
            raise AppLoadError(f"{field}.{spelling}", None, fix)
    if not isinstance(written, str) or not isinstance(command, str) or not command.strip():
        raise AppLoadError(f"{field}.command", written, "A redis binding needs a command, such as GET {Key} or DEL.")
    return written, command


def _checked_output(field: str, written: str, command: str) -> str:
    if " " in command.strip():
        fix = "The command of an output has no arguments: the function returns or sets them. Give its name alone."
        raise AppLoadError(f"{field}.command", written, fix)
    return command.strip()


def _check_input(field: str, written: str, command: str, names: tuple[str, ...]) -> None:
    word = command.partition(" ")[0]
    if word.upper() not in READS:
        fix = f"{did_you_mean(word, READS)}An input reads one value with one of {', '.join(sorted(READS))}."
        raise AppLoadError(f"{field}.command", written, fix)
    folded = [name.lower() for name in names]
    for name in _NAME.findall(command):
        kind, dot, part = name.lower().partition(".")
        if f"{kind}{dot}" not in folded or bool(dot) != bool(part):
            shown = ", ".join(f"{{{one}FIELD}}" if one.endswith(".") else f"{{{one}}}" for one in names)
            raise AppLoadError(f"{field}.command", written, f"This trigger has no {{{name}}}. Use {shown}.")
