"""OTLP/gRPC: three services, one handler.

Source: OTLP specification 1.x, "OTLP/gRPC"; option names of gRPC core from grpc/impl/channel_arg_names.h.
"""

from __future__ import annotations

import grpc

from ares_otel.pipeline.grace import Grace
from ares_otel.pipeline.grpc_door import GrpcDoor
from ares_otel.pipeline.shared_ports import ROTATION_SECONDS
from ares_otel.receivers.otlp.config import GrpcConfig
from ares_otel.receivers.otlp.grpc_export import GrpcExport
from ares_otel.receivers.serving.http_config import split_endpoint

MIB = 1024 * 1024
_NEVER_MS = 2**31 - 1
_HANDSHAKE_MS = 10_000
"""From the connection to the client's first settings. gRPC's own default is two minutes."""
_WINDOW_BYTES = 64 * 1024
"""What a call may send before its message is read (RFC 9113 §6.9.2: the initial window)."""


def server_options(config: GrpcConfig, *, shared: bool = False) -> list[tuple[str, int]]:
    """Options of gRPC core for this configuration. `shared`: other processes of this Ares listen on the port too."""
    life = config.keepalive.server_parameters
    age = life.max_connection_age
    if shared and "max_connection_age" not in life.model_fields_set:
        age = ROTATION_SECONDS  # gRPC itself adds or takes a tenth
    policy = config.keepalive.enforcement_policy
    return [
        # One listener a port: a second server on it is an error, not a silent sharer. Workers share what was reserved.
        ("grpc.so_reuseport", int(shared)),
        # The handler gets messages as they were sent, and inflates them within the memory budget. gRPC would inflate
        # before anybody is asked.
        ("grpc.per_message_decompression", 0),
        ("grpc.max_receive_message_length", config.max_recv_msg_size_mib * MIB),
        # A message is read when it has a place, and until then no more of it is in memory than HTTP/2's first window.
        # With the probe gRPC would widen the windows of a fast connection to megabytes, for every call on it.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", _WINDOW_BYTES),
        ("grpc.max_concurrent_streams", config.max_concurrent_streams),
        ("grpc.max_allowed_incoming_connections", config.max_allowed_incoming_connections),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        ("grpc.http2.settings_timeout", _HANDSHAKE_MS),
        ("grpc.max_connection_idle_ms", _milliseconds(life.max_connection_idle)),
        ("grpc.max_connection_age_ms", _milliseconds(age)),
        ("grpc.max_connection_age_grace_ms", _milliseconds(life.max_connection_age_grace)),
        ("grpc.keepalive_time_ms", _milliseconds(life.time)),
        # Two clocks run for a ping, and the connection ends with the second: one minute unless it is set too.
        ("grpc.keepalive_timeout_ms", _milliseconds(life.timeout)),
        ("grpc.http2.ping_timeout_ms", _milliseconds(life.timeout)),
        ("grpc.http2.min_ping_interval_without_data_ms", int(policy.min_time * 1000)),
        ("grpc.keepalive_permit_without_calls", int(policy.permit_without_stream)),
    ]


def _milliseconds(seconds: float) -> int:
    """gRPC's milliseconds; 0 means never, as in the Collector."""
    return min(_NEVER_MS, max(1, int(seconds * 1000))) if seconds else _NEVER_MS


def otlp_grpc_door(
    config: GrpcConfig,
    export: GrpcExport,
    setting: str,
    host_setting: str,
    *,
    grace: Grace,
    shared_port: int | None = None,
) -> GrpcDoor:
    """Serves `Export` of every signal that has a consumer; of the others it says UNIMPLEMENTED, as gRPC does.

    Args:
        shared_port: what to listen on instead of the configured port, together with other processes of this Ares.
        setting: name of the option that holds the port, for error messages.
        host_setting: name of the option that holds the host, for error messages.
    """
    host, port = split_endpoint(config.endpoint)
    shared = shared_port is not None
    methods = {
        # On the wire the same as unary. But a unary handler is called with the message, read whole for everybody
        # who sends one; this one is called before, and reads when there is room.
        signal.service: {"Export": grpc.stream_unary_rpc_method_handler(export.handler(signal))}
        for signal in export.signals
    }
    return GrpcDoor(
        methods,
        export.calls,
        host=host,
        port=shared_port or port,
        setting=setting,
        host_setting=host_setting,
        options=server_options(config, shared=shared),
        grace=grace,
        shared=shared,
    )
