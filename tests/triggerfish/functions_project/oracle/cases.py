"""Functions, and calls of them, of which each worker shows what the function gets and what becomes of its outputs.

It imports nothing, as `record` runs where Triggerfish is not installed.
"""

from typing import Any

__all__ = ["CALLS", "REFUSED", "decorated_source"]

NAME = "Work"
LIST = {"type": "redisListTrigger", "name": "entry", "direction": "in", "connection": "cache", "key": "work"}
STREAM = {**LIST, "type": "redisStreamTrigger", "key": "events"}
PUBSUB = {"type": "redisPubSubTrigger", "name": "entry", "direction": "in", "connection": "cache", "channel": "news"}
INPUT = {"type": "redis", "name": "value", "direction": "in", "connection": "cache", "command": "GET a"}
OUTPUT = {"type": "redis", "name": "result", "direction": "out", "connection": "cache", "command": "DEL"}
RETURNED = {**OUTPUT, "name": "$return"}
BINARY = {"dataType": "binary"}
KEEP = "received = []\n{prefix}def main({parameters}):\n    received.extend([{kept}])\n    {last}\n"
#: An entry, and what version 1.0.0 of the extension passes to the worker for it (its ValueProviders, and Json.NET).
ELEMENT: dict[str, Any] = {"payload": b'{"n": 1} \xc3\xa9\xff', "text": '{"n": 1} \u00e9\ufffd'}
ENTRY: dict[str, Any] = {
    "fields": {b"a": b"b", b"c": '\u00e9\u2028\x01"\\/'.encode()},
    "id": "5-1",
    "text": '{"Id":"5-1","Values":{"a":"b","c":"\u00e9\\u2028\\u0001\\"\\\\/"}}',
}
MESSAGE: dict[str, Any] = {
    "payload": b"hello",
    "text": '{"SubscriptionChannel":"news","Channel":"news","Message":"hello"}',
}


def call(
    parameters: str, kept: str, *bindings: dict[str, Any], entry: dict[str, Any], last: str = "", **more: Any
) -> dict[str, Any]:
    """Return a call of a function that keeps values and ends with a statement."""
    source = KEEP.format(prefix=more.pop("prefix", ""), parameters=parameters, kept=kept, last=last or "return None")
    return {"source": source, "bindings": list(bindings), "entry": entry, **more}


RETURNS = {
    "nothing": "None",
    "text": "'a b'",
    "bytes": "b'a b'",
    "list": "['a', 'b c']",
    "empty list": "[]",
    "empty text": "''",
}
PUBLIC = "[name for name in dir({}) if not name.startswith('_')]"
CALLS: dict[str, dict[str, Any]] = {
    "list": call("entry", "entry", LIST, entry=ELEMENT),
    "list of str": call("entry: str", "entry", LIST, entry=ELEMENT),
    "list of bytes": call("entry: bytes", "entry", {**LIST, **BINARY}, entry=ELEMENT),
    "list of bytes without dataType": call("entry: bytes", "entry", LIST, entry=ELEMENT),
    "stream": call("entry", "entry", STREAM, entry=ENTRY),
    "stream of bytes": call("entry", "entry", {**STREAM, **BINARY}, entry=ENTRY),
    "pubsub": call("entry", "entry", PUBSUB, entry=MESSAGE),
    "pubsub of bytes": call("entry", "entry", {**PUBSUB, **BINARY}, entry=MESSAGE),
    "async": call("entry", "entry", LIST, entry=ELEMENT, prefix="async "),
    "input": call("entry, value", "value", LIST, INPUT, entry=ELEMENT, reply=b"\xc3\xa9"),
    "input of bytes": call("value, entry", "value", LIST, {**INPUT, **BINARY}, entry=ELEMENT, reply=b"\xff"),
    "input of nothing": call("entry, value: str", "value", LIST, INPUT, entry=ELEMENT, reply=None),
    "context": call(
        "entry, context",
        "context.function_name, context.retry_context.retry_count, context.retry_context.max_retry_count",
        LIST,
        entry=ELEMENT,
    ),
    "attributes": call(
        "entry, context, result",
        ", ".join(map(PUBLIC.format, ("context", "context.retry_context", "context.trace_context", "result"))),
        LIST,
        OUTPUT,
        entry=ELEMENT,
    ),
    "thread": call("entry, context", "context.thread_local_storage.invocation_id == context.invocation_id", LIST,
                   entry=ELEMENT),
    "return without a binding": call("entry", "entry", LIST, entry=ELEMENT, last="return {'any': 1}"),
    "Out that is not set": call("entry, result", "result.get()", LIST, OUTPUT, entry=ELEMENT),
    "Out set twice": call("entry, result", "result.set('a'), result.set('b')", LIST, OUTPUT, entry=ELEMENT),
    **{
        f"return of {name}": call("entry", "entry", LIST, RETURNED, entry=ELEMENT, last=f"return {value}")
        for name, value in RETURNS.items()
    },
    **{
        f"Out of {name}": call("entry, result", "entry", LIST, OUTPUT, entry=ELEMENT, last=f"result.set({value})")
        for name, value in RETURNS.items()
    },
}  # fmt: skip
#: Functions that each worker refuses to load: a source, and bindings.
REFUSED: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "no parameter": ("def main(): ...", [LIST]),
    "no binding": ("def main(entry, other): ...", [LIST]),
    "no binding of a parameter with a default": ("def main(entry, other=5): ...", [LIST]),
    "a dict": ("def main(entry: dict): ...", [LIST]),
    "an integer": ("def main(entry: int): ...", [LIST]),
    "no context": ("def main(entry, context: str): ...", [LIST]),
    "an output as text": ("def main(entry, result: str): ...", [LIST, OUTPUT]),
    "an undefined type": ("def main(entry: 'Nothing'): ...", [LIST]),
    "no main": ("def other(entry): ...", [LIST]),
}


def decorated_source(source: str, bindings: list[dict[str, Any]]) -> str:
    """Return a function of the model v1 as function_app.py."""
    lines = ["import azure.functions as func", "", "app = func.FunctionApp()", "", source, ""]
    decorated = "main"
    for binding in bindings:
        options = {key: value for key, value in binding.items() if key not in ("name", "direction", "dataType", "type")}
        options |= {"arg_name": binding["name"], "type": binding["type"], "data_type": binding.get("dataType")}
        kind = "output_binding" if binding["direction"] == "out" else "input_binding"
        kind = "trigger" if binding["type"].endswith("Trigger") else kind
        decorated = f"app.generic_{kind}(**{options!r})({decorated})"
    return "\n".join([*lines, f"app.function_name({NAME!r})({decorated})"])
