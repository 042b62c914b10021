"""Compiles the external scaler protocol when the package is built or installed."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PROTO = "scaler/keda/externalscaler.proto"


class ProtocolBuildHook(BuildHookInterface):
    """Runs protoc on PROTO, so that the generated modules always match it."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        from grpc_tools import protoc  # noqa: PLC0415  (only installed during the build)

        root = Path(self.root)
        arguments = [f"-I{root}", f"--python_out={root}", f"--pyi_out={root}", f"--grpc_python_out={root}"]
        if protoc.main(["protoc", *arguments, str(root / PROTO)]) != 0:
            raise RuntimeError(f"protoc could not compile {PROTO}. See its message above.")
        build_data["artifacts"] += [
            "scaler/keda/externalscaler_pb2.py",
            "scaler/keda/externalscaler_pb2.pyi",
            "scaler/keda/externalscaler_pb2_grpc.py",
        ]
