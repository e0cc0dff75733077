"""gRPC: `jaeger.api_v2.SamplingManager/GetSamplingStrategy`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from ares_otel.api.jaeger.proto import sampling_v2_pb2 as pb
from ares_otel.control.sampling.strategies import Strategies
from ares_otel.control.sampling.strategy import Strategy

SERVICE = "jaeger.api_v2.SamplingManager"
WRONG = "Name the service in serviceName."
UNREADABLE = "The request is not a jaeger.api_v2.SamplingStrategyParameters."


def add_sampling(
    server: grpc.aio.Server, strategies: Strategies, on_answer: Callable[[str], None] = lambda transport: None
) -> None:
    """Makes a server, not started yet, answer `SamplingManager`.

    Args:
        on_answer: called with `grpc` for each answer.
    """

    async def get(request: bytes, context: Any) -> bytes:
        # Read here and not by grpc, which would tell what Python said of a request that cannot be read.
        try:
            service = pb.SamplingStrategyParameters.FromString(request).serviceName
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, UNREADABLE)
        if not service:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, WRONG)
        strategy = await strategies.sampling_strategy(service)
        on_answer("grpc")
        return message_of(strategy)

    method = grpc.unary_unary_rpc_method_handler(get)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"GetSamplingStrategy": method}),))


def message_of(strategy: Strategy) -> bytes:
    """The bytes of a `SamplingStrategyResponse`."""
    if (message := strategy.rendered.get("protobuf")) is None:
        message = strategy.rendered["protobuf"] = _response(strategy).SerializeToString()
    return message


def _response(strategy: Strategy) -> pb.SamplingStrategyResponse:
    if strategy.kind == "RATE_LIMITING":
        limit = pb.RateLimitingSamplingStrategy(maxTracesPerSecond=strategy.max_traces_per_second)
        return pb.SamplingStrategyResponse(strategyType=pb.RATE_LIMITING, rateLimitingSampling=limit)
    response = pb.SamplingStrategyResponse(
        strategyType=pb.PROBABILISTIC,
        probabilisticSampling=pb.ProbabilisticSamplingStrategy(samplingRate=strategy.ratio),
    )
    if strategy.operations is not None:
        listed = response.operationSampling
        listed.defaultSamplingProbability = strategy.ratio
        listed.defaultLowerBoundTracesPerSecond = strategy.lower_bound
        if strategy.max_traces_per_second is not None:
            listed.defaultUpperBoundTracesPerSecond = float(strategy.max_traces_per_second)
        for name, ratio in strategy.operations:
            one = listed.perOperationStrategies.add(operation=name)
            one.probabilisticSampling.samplingRate = ratio
        listed.SetInParent()
    return response
