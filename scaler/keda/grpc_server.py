"""The gRPC server: KEDA's service, health checks and reflection on one port."""

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from listeners.errors import ConfigurationError
from scaler.keda import externalscaler_pb2_grpc
from scaler.keda.bounded_requests import BoundedRequests
from scaler.keda.certificates import Certificates
from scaler.keda.service import ExternalScaler
from scaler.settings import ScalerSettings

__all__ = ["GrpcServer"]

SERVICE_NAME = "externalscaler.ExternalScaler"

OPTIONS = (
    # KEDA keeps thousands of streams open on one connection, and pings it.
    ("grpc.max_concurrent_streams", 100_000),
    # After a restart they all arrive at once. By default, gRPC cancels some calls when a thousand wait to be accepted,
    # and each call that has waited for 30 s.
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 100_000),
    ("grpc.server_max_unrequested_time_in_server", 300),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", 1024 * 1024),
    # A second scaler on the same port must fail, not share it.
    ("grpc.so_reuseport", 0),
)


class GrpcServer:
    """Serves KEDA's calls, in plain text if there are no `certificates`. `port` is the port that was bound.

    Raises ConfigurationError if the port cannot be bound.
    """

    def __init__(self, service: ExternalScaler, settings: ScalerSettings, certificates: Certificates | None) -> None:
        self._service = service
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(interceptors=[BoundedRequests()], options=OPTIONS)
        externalscaler_pb2_grpc.add_ExternalScalerServicer_to_server(service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self.port = self._bind(settings, certificates)

    async def start(self) -> None:
        """Start serving, and report so to health checks."""
        await self._server.start()
        await self._health.set(SERVICE_NAME, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace_seconds: float) -> None:
        """Accept the calls that have arrived, end the streams with OK, and finish within `grace_seconds`."""
        await self._health.enter_graceful_shutdown()
        await self._service.accept_last_calls()
        self._service.stop()
        await self._server.stop(grace_seconds)

    def _bind(self, settings: ScalerSettings, certificates: Certificates | None) -> int:
        address = f"{settings.grpc_host}:{settings.grpc_port}"
        try:
            if certificates is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, certificates.credentials())
        except RuntimeError:
            raise ConfigurationError(
                "scaler.grpc_port",
                settings.grpc_port,
                "It cannot be bound. Stop the process that listens on it, or choose another with --grpc-port or "
                "TRIGGERFISH_SCALER__GRPC_PORT.",
            ) from None
