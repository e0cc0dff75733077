"""Ports of several processes: reserved without a moment in which somebody else could take them, and shared with nobody
who was not asked."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from ares_otel.model.errors import AddressInUse
from ares_otel.pipeline.listen import bind
from ares_otel.pipeline.shared_ports import Endpoint, Reservations
from tests.support.ports import free_port


def endpoint(protocol: str = "grpc", port: int = 0, host: str = "127.0.0.1", receiver: str = "otlp") -> Endpoint:
    return Endpoint(receiver, protocol, host, port, f"--otlp-{protocol}-port", "--host", f"otlp-{protocol}")


@pytest.fixture
def reservations() -> Iterator[Reservations]:
    with closing(Reservations()) as made:
        yield made


def listener(port: int, *, shared: bool, host: str = "127.0.0.1") -> socket.socket:
    [made] = bind(host, port, "--port", shared=shared)
    made.listen()
    return made


def test_several_processes_listen_on_a_reserved_port_and_each_gets_connections(reservations: Reservations) -> None:
    reservations.reserve([endpoint()])
    port = reservations.ports["otlp grpc"]
    assert reservations.doors == {"otlp-grpc": f"127.0.0.1:{port}"}
    with listener(port, shared=True) as one, listener(port, shared=True) as other:
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(64)]
        for side in (one, other):
            connection, _ = side.accept()
            connection.close()
        for client in clients:
            client.close()


def test_nobody_else_gets_a_reserved_port_also_while_nobody_listens_yet(reservations: Reservations) -> None:
    reservations.reserve([endpoint()])
    port = reservations.ports["otlp grpc"]
    with pytest.raises(AddressInUse):
        bind("127.0.0.1", port, "--port")
    with pytest.raises(AddressInUse):
        bind("0.0.0.0", port, "--port")
    other = Reservations()
    with pytest.raises(AddressInUse, match="--otlp-grpc-port"):
        other.reserve([endpoint(port=port)])


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "would share"])
def test_a_port_that_somebody_has_is_never_shared_with_them(reservations: Reservations, shared: bool) -> None:
    port = free_port()
    with listener(port, shared=shared), pytest.raises(AddressInUse, match=f"127.0.0.1:{port} is in use"):
        reservations.reserve([endpoint(port=port)])
    assert reservations.ports == {}


def test_two_receivers_of_one_configuration_cannot_have_the_same_port(reservations: Reservations) -> None:
    port = free_port()
    with pytest.raises(AddressInUse):
        reservations.reserve([endpoint("grpc", port), endpoint("http", port)])
    bind("127.0.0.1", port, "--port")[0].close()  # nothing is left of the attempt


def test_a_door_that_wants_a_reserved_port_is_told_which_option_has_it(reservations: Reservations) -> None:
    port = free_port()
    reservations.reserve([endpoint("grpc", port)])
    with pytest.raises(AddressInUse, match=r"another door of this Ares \(--otlp-grpc-port\)"):
        bind("127.0.0.1", port, "--http-port", "--host")


def test_another_configuration_keeps_the_ports_that_it_has_too(reservations: Reservations) -> None:
    fixed = free_port()
    reservations.reserve([endpoint("grpc"), endpoint("http", fixed)])
    reservations.settle()
    before = reservations.ports["otlp grpc"]
    with listener(before, shared=True), listener(fixed, shared=True):
        reservations.reserve([endpoint("grpc"), endpoint("http", fixed, receiver="otlp/renamed")])
        reservations.settle()
        assert reservations.ports == {"otlp grpc": before, "otlp/renamed http": fixed}
    with pytest.raises(AddressInUse):
        bind("127.0.0.1", fixed, "--port")


def test_what_only_the_configuration_before_needed_is_free_when_the_new_one_is_settled(
    reservations: Reservations,
) -> None:
    first, second = free_port(), free_port()
    reservations.reserve([endpoint(port=first)])
    reservations.settle()
    reservations.reserve([endpoint(port=second)])
    with pytest.raises(AddressInUse):
        bind("127.0.0.1", first, "--port")
    reservations.settle()
    bind("127.0.0.1", first, "--port")[0].close()


def test_a_configuration_that_was_not_taken_leaves_the_one_before(reservations: Reservations) -> None:
    first, second, taken = free_port(), free_port(), free_port()
    reservations.reserve([endpoint(port=first)])
    reservations.settle()
    with listener(taken, shared=False), pytest.raises(AddressInUse):
        reservations.reserve([endpoint("grpc", second), endpoint("http", taken)])
    bind("127.0.0.1", second, "--port")[0].close()
    reservations.reserve([endpoint(port=second)])
    reservations.undo()
    assert reservations.ports == {"otlp grpc": first}
    bind("127.0.0.1", second, "--port")[0].close()
    with pytest.raises(AddressInUse):
        bind("127.0.0.1", first, "--port")


def test_a_receiver_may_move_to_another_address_of_its_port(reservations: Reservations) -> None:
    port = free_port()
    reservations.reserve([endpoint(port=port)])
    reservations.settle()
    with listener(port, shared=True):
        reservations.reserve([endpoint(port=port, host="0.0.0.0")])
        with listener(port, shared=True, host="0.0.0.0"):
            reservations.settle()
