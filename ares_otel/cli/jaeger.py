"""Jaeger's gRPC door: v3 and remote storage v2 on one port, with OTLP's writes and what else is answered there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg

from ares_otel.api.jaeger.proto import sampling_v2_pb2 as sampling_pb
from ares_otel.api.jaeger.storage_query import StorageService
from ares_otel.api.jaeger.v3_query import QueryService
from ares_otel.api.sampling import servicer
from ares_otel.cli.ingest import Ingest
from ares_otel.cli.options import UpOptions
from ares_otel.cli.sampling import Sampling
from ares_otel.cli.trace_writes import TraceWrites, largest_message
from ares_otel.model.rpc import INVALID_ARGUMENT, RpcFailure, RpcMethod
from ares_otel.model.signal import TRACES
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.config import PipelineConfig
from ares_otel.pipeline.grace import Grace, Stages
from ares_otel.pipeline.grpc_door import Calls, GrpcDoor
from ares_otel.pipeline.grpc_health import health_method
from ares_otel.pipeline.grpc_methods import AskedMethods
from ares_otel.receivers.otlp.config import GrpcConfig
from ares_otel.receivers.otlp.grpc_server import MIB, server_options

DOOR = "jaeger-grpc"
OPTION = "--jaeger-grpc-port"
ASKING_MIB = 32
"""Memory for requests on their way in, besides the traces that a receiver takes."""


async def open_jaeger_grpc(
    options: UpOptions,
    config: PipelineConfig,
    pool: asyncpg.Pool,
    ingest: Callable[[], Ingest | None],
    reasons_not_ready: Callable[[], Awaitable[list[str]]],
    grace: Grace,
    stack: Stages,
    *,
    sampling: Sampling,
) -> dict[str, str]:
    """Opens the door. Gives its name and address.

    Args:
        config: of the start, from which the largest message is; a reload does not change it.
        stack: closes the door.
        sampling: answers `SamplingManager`, as on its own port.

    Raises:
        StartError: the port is taken or must not be used.
    """
    largest = largest_message(config)
    calls = Calls()
    admission = Admission(max(ASKING_MIB * MIB, 2 * largest))
    writes = TraceWrites(ingest, admission, largest, calls)
    asked = [
        *QueryService(pool, max_skew_ns=options.max_clock_skew_ns).methods(),
        *StorageService(pool).methods(),
        _sampling_method(sampling),
    ]
    services = {method.service for method in asked} | {TRACES.service}
    asked.append(health_method(services, reasons_not_ready))
    door = GrpcDoor(
        {**AskedMethods(admission, largest, calls).handlers(asked), TRACES.service: {"Export": writes.handler()}},
        calls,
        host=options.host,
        port=options.jaeger_grpc_port,
        setting=OPTION,
        host_setting="--host",
        options=server_options(GrpcConfig(max_recv_msg_size_mib=largest // MIB)),
        grace=grace,
    )
    stack.push_async_callback(writes.stop)
    stack.push_bounded("Jaeger's gRPC door", door.stop)
    await door.start()
    return {DOOR: f"http://{door.address}"}


def _sampling_method(sampling: Sampling) -> RpcMethod:
    async def ask(request: sampling_pb.SamplingStrategyParameters) -> sampling_pb.SamplingStrategyResponse:
        if not request.serviceName:
            raise RpcFailure(INVALID_ARGUMENT, servicer.WRONG)
        strategy = await sampling.strategies.sampling_strategy(request.serviceName)
        sampling.on_answer("grpc")
        return sampling_pb.SamplingStrategyResponse.FromString(servicer.message_of(strategy))

    return RpcMethod(servicer.SERVICE, "GetSamplingStrategy", sampling_pb.SamplingStrategyParameters, one=ask)
