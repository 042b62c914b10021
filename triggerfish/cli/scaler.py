"""`triggerfish scaler`: the scale controller."""

import asyncio

from listeners.runtime.extras import require_extra
from triggerfish.cli.options import (
    ConfigOption,
    ConnectionOption,
    GrpcPortOption,
    HttpPortOption,
    LogFormat,
    LogFormatOption,
    LogLevel,
    LogLevelOption,
)
from triggerfish.cli.serving import start_serving
from triggerfish.settings import load_settings_with

__all__ = ["scaler"]


def scaler(
    config: ConfigOption = None,
    connection: ConnectionOption = None,
    grpc_port: GrpcPortOption = None,
    http_port: HttpPortOption = None,
    log_level: LogLevelOption = LogLevel.INFO,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Run the scale controller.

    It answers KEDA over gRPC, and serves Prometheus metrics, JSON and a status page over HTTP (default port 8080).
    """
    start_serving(log_level, log_format)
    require_extra("scaler", "triggerfish scaler")
    from scaler.server import ScalerServer

    settings = load_settings_with(config, connection, scaler={"grpc_port": grpc_port, "http_port": http_port})
    asyncio.run(ScalerServer(settings).run_until_signalled())
