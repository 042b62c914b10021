"""Records what Microsoft's worker does with each case into recorded.json, which test_oracle.py compares with ours.

Run it with Python 3.13, in an environment with azure-functions-runtime-v1 1.2.0 and azure-functions-runtime 1.3.0:

    python tests/triggerfish/functions_project/oracle/record.py

The host of Azure Functions is not part of them: the messages that it sends are made here.
"""

import asyncio
import importlib
import json
import logging
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

HERE = Path(__file__).parent
PACKAGES = {"v1": "azure_functions_runtime_v1", "v2": "azure_functions_runtime"}


class TypedData:
    """A value on its way between host and worker, which has one type."""

    def __init__(self, **given: Any) -> None:
        self.given = given

    def WhichOneof(self, _: str) -> str | None:  # noqa: N802  (its name in protobuf)
        return next(iter(self.given), None)

    def __getattr__(self, name: str) -> Any:
        return self.__dict__["given"][name]


class Message(SimpleNamespace):
    """Any other message."""

    def WhichOneof(self, _: str) -> str:  # noqa: N802  (its name in protobuf)
        return "data"


PROTOS = SimpleNamespace(
    TypedData=TypedData,
    ParameterBinding=Message,
    WorkerInitResponse=Message,
    WorkerMetadata=Message,
    FunctionLoadResponse=Message,
    FunctionMetadataResponse=Message,
    InvocationResponse=Message,
    RpcFunctionMetadata=Message,
    RpcException=Message,
    BindingInfo=type(
        "BindingInfo", (Message,), {"in": 0, "out": 1, "inout": 2, "undefined": 0, "string": 1, "binary": 2}
    ),
    StatusResult=type("StatusResult", (Message,), {"Success": 1, "Failure": 0}),
)


def main() -> None:
    """Run each case in a process of its own, and write what it shows."""
    cases = importlib.import_module("cases")
    recorded: dict[str, Any] = {"calls": {}, "refused": {}}
    for kind, names in (("calls", cases.CALLS), ("refused", cases.REFUSED)):
        for name in names:
            for model in PACKAGES:
                run = [sys.executable, __file__, kind, name, model]
                shown = subprocess.run(run, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
                recorded[kind].setdefault(name, {})[model] = json.loads(shown)
    (HERE / "recorded.json").write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")


async def show(kind: str, name: str, model: str) -> dict[str, Any]:
    """Load the function of a case, call it if it is for a call, and return what happened."""
    cases = importlib.import_module("cases")
    if kind == "refused":
        source, bindings = cases.REFUSED[name]
        case = {}
    else:
        case = cases.CALLS[name]
        source, bindings = case["source"], case["bindings"]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sys.path.insert(0, folder)
        worker = importlib.import_module(f"{PACKAGES[model]}.handle_event")
        loaded = await (load_folder if model == "v1" else load_decorated)(worker, root, source, bindings, cases)
        if kind == "refused" or loaded is None:
            return {"refused": loaded is None}
        response = await invoke(worker, loaded, case)
    module = sys.modules["__app__.Work" if model == "v1" else "function_app"]
    outputs = {one.name: shown_data(one.data) for one in response.output_data}
    return {
        "received": [shown_value(one) for one in module.received],
        "returned": shown_data(response.return_value),
        "outputs": outputs,
    }


async def load_folder(worker: Any, root: Path, source: str, bindings: list[dict[str, Any]], cases: Any) -> str | None:
    """Load a function of the model v1. Return its ID, or None if it is refused."""
    (root / cases.NAME).mkdir()
    (root / cases.NAME / "__init__.py").write_text(source)
    await worker.worker_init_request(initial(root))
    metadata = Message(
        name=cases.NAME,
        directory=str(root / cases.NAME),
        script_file=str(root / cases.NAME / "__init__.py"),
        entry_point="main",
        bindings={one["name"]: binding_info(one) for one in bindings},
    )
    request = Message(function_id="id", metadata=metadata)
    response = await worker.function_load_request(Message(request=Message(function_load_request=request)))
    return "id" if response.result.status == PROTOS.StatusResult.Success else None


async def load_decorated(
    worker: Any, root: Path, source: str, bindings: list[dict[str, Any]], cases: Any
) -> str | None:
    """Load a function of the model v2. Return its ID, or None if it is refused."""
    (root / "function_app.py").write_text(cases.decorated_source(source, bindings))
    response = await worker.worker_init_request(initial(root))
    if response.result.status != PROTOS.StatusResult.Success:
        return None
    [metadata] = (await worker.functions_metadata_request(Message())).function_metadata_results
    return str(metadata.function_id)


def initial(root: Path) -> Message:
    """Return the first request to a worker."""
    request = Message(capabilities={}, function_app_directory=str(root))
    return Message(request=Message(worker_init_request=request), properties={"host": "localhost", "protos": PROTOS})


def binding_info(binding: dict[str, Any]) -> Message:
    """Return a binding as the host describes it."""
    direction = {"in": 0, "out": 1}[binding["direction"]]
    data_type = {"binary": 2}.get(binding.get("dataType", ""), 0)
    info: Message = PROTOS.BindingInfo(type=binding["type"], direction=direction, data_type=data_type)
    return info


async def invoke(worker: Any, function_id: str, case: dict[str, Any]) -> Any:
    """Call the function with what the host sends for the case's entry: the third of five calls."""
    inputs = []
    for binding in case["bindings"]:
        if binding["direction"] == "in":
            is_trigger, is_binary = binding["type"].endswith("Trigger"), binding.get("dataType") == "binary"
            inputs.append(Message(name=binding["name"], data=sent(case, is_trigger=is_trigger, is_binary=is_binary)))
    request = Message(
        invocation_id="id of the call",
        function_id=function_id,
        input_data=inputs,
        trigger_metadata={},
        trace_context=Message(trace_parent="", trace_state="", attributes={}),
        retry_context=Message(retry_count=2, max_retry_count=4, exception=None),
    )
    response = await worker.invocation_request(Message(request=Message(invocation_request=request)))
    if response.result.status != PROTOS.StatusResult.Success:
        raise RuntimeError(response.result.exception.message)
    return response


def sent(case: dict[str, Any], *, is_trigger: bool, is_binary: bool) -> TypedData:
    """Return what the extension passes: for a list as bytes the element, else the text."""
    if is_trigger:
        entry = case["entry"]
        if is_binary:
            has_own_bytes = "payload" in entry and not entry["text"].startswith('{"SubscriptionChannel"')
            return TypedData(bytes=entry["payload"] if has_own_bytes else entry["text"].encode())
        return TypedData(string=entry["text"])
    if case["reply"] is None:
        return TypedData()
    return TypedData(bytes=case["reply"]) if is_binary else TypedData(string=case["reply"].decode())


def shown_data(data: TypedData | None) -> Any:
    """Return what a worker sends to the host, by its type."""
    if data is None or not data.given:
        return None
    [(kind, value)] = data.given.items()
    return {kind: value.hex() if isinstance(value, bytes) else value}


def shown_value(value: Any) -> Any:
    """Return a value as JSON that tells bytes from text."""
    return {"bytes": value.hex()} if isinstance(value, bytes) else value


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    warnings.simplefilter("ignore")
    logging.disable()
    if len(sys.argv) == 1:
        main()
    else:
        sys.stdout.write(json.dumps(asyncio.run(show(*sys.argv[1:]))) + "\n")
