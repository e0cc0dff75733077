"""`grpc.health.v1.Health/Check`: what load balancers and Kubernetes ask. `Watch` is left out, as the protocol allows:
who gets UNIMPLEMENTED for it does without, and no call would be kept open over a stop.

Source: grpc/health/v1/health.proto. The messages are made in a pool of their own: an application may have loaded others
of the same names.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from ares_otel.model.rpc import NOT_FOUND, RpcFailure, RpcMethod

PACKAGE = "grpc.health.v1"
SERVICE = f"{PACKAGE}.Health"
SERVING = 1
NOT_SERVING = 2


def _field(name: str, kind: FieldDescriptorProto.Type.ValueType) -> FieldDescriptorProto:
    return FieldDescriptorProto(name=name, number=1, label=FieldDescriptorProto.LABEL_OPTIONAL, type=kind)


_POOL = DescriptorPool()
_POOL.Add(
    FileDescriptorProto(
        name="ares_otel/health.proto",
        package=PACKAGE,
        syntax="proto3",
        message_type=[
            DescriptorProto(
                name="HealthCheckRequest",
                field=[_field("service", FieldDescriptorProto.TYPE_STRING)],
            ),
            DescriptorProto(
                name="HealthCheckResponse",
                field=[_field("status", FieldDescriptorProto.TYPE_INT32)],  # an enum, by its number
            ),
        ],
    )
)
_REQUEST: type[Message] = GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.HealthCheckRequest"))
_RESPONSE: Any = GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.HealthCheckResponse"))


def health_method(services: Collection[str], reasons_not_ready: Callable[[], Awaitable[list[str]]]) -> RpcMethod:
    """`Check` for a server of these services; all of them serve, or none."""

    async def check(request: Any) -> Message:
        if request.service and request.service not in services:
            raise RpcFailure(NOT_FOUND, f"There is no service {request.service[:200]!r} on this port.")
        answer: Message = _RESPONSE(status=NOT_SERVING if await reasons_not_ready() else SERVING)
        return answer

    return RpcMethod(SERVICE, "Check", _REQUEST, one=check)
