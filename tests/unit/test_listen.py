"""Who may reach a listener."""

from __future__ import annotations

import pytest

from ares_otel.model.errors import StartError
from ares_otel.pipeline.listen import BindPolicy, bind, check_bind, parse_allowed_hosts, shown
from tests.support.otlp_receiver import running

SETTING = "receivers.otlp.protocols.http.endpoint"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_may_always_be_listened_on(host: str) -> None:
    check_bind(host, BindPolicy(), SETTING)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "::ffff:192.0.2.1", "fe80::1"])
def test_other_addresses_need_the_consent_of_whoever_starts_ares(host: str) -> None:
    """Statement 10."""
    with pytest.raises(StartError, match=f"^{SETTING} is .*--allow-unauthenticated") as caught:
        check_bind(host, BindPolicy(), SETTING)
    assert "\n" not in caught.value.message
    check_bind(host, BindPolicy(allow_unauthenticated=True), SETTING)


def test_a_name_that_nobody_knows_is_one_clear_line() -> None:
    with pytest.raises(StartError, match=f"no.such.name.invalid is not a known host.*{SETTING}"):
        check_bind("no.such.name.invalid", BindPolicy(), SETTING)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_no_otlp_endpoint_listens_beyond_loopback_without_consent(protocol: str) -> None:
    """Statement 10."""
    endpoint = {protocol: {"endpoint": "0.0.0.0:0"}}
    with pytest.raises(StartError, match=f"receivers.otlp.protocols.{protocol}.endpoint is 0.0.0.0"):
        async with running(endpoint):
            pass
    allowed = BindPolicy(allow_unauthenticated=True, allowed_hosts=("collector.example",))
    async with running(endpoint, policy=allowed) as ares:
        assert ares.receiver.doors
        if protocol == "http":
            response = await ares.client.post(
                f"http://127.0.0.1:{ares.http_port}/v1/traces",
                content=b"",
                headers={"host": "collector.example", "content-type": "application/x-protobuf"},
            )
            assert response.status_code == 200


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_an_occupied_otlp_port_is_one_clear_line(protocol: str) -> None:
    """Statement 1."""
    async with running({protocol: None}) as first:
        endpoint = next(iter(first.receiver.doors.values())).removeprefix("http://")
        with pytest.raises(StartError, match=f"{endpoint} is in use by .*protocols.{protocol}.endpoint") as caught:
            async with running({protocol: {"endpoint": endpoint}}):
                pass
        assert "\n" not in caught.value.message
        assert f"(with the packaged configuration: --otlp-{protocol}-port)" in caught.value.message


def test_two_doors_with_one_port_are_told_so_with_both_settings() -> None:
    (free,) = bind("127.0.0.1", 0, SETTING)
    port = free.getsockname()[1]
    free.close()
    (held,) = bind("127.0.0.1", port, "--http-port")
    with held:
        held.listen()
        with pytest.raises(StartError) as caught:
            bind("127.0.0.1", port, SETTING)
    assert caught.value.message == (
        f"127.0.0.1:{port} is in use by another door of this Ares (--http-port); two doors cannot have the same port: "
        f"set {SETTING} to another one."
    )


def test_an_address_of_another_machine_names_the_option_that_holds_the_host() -> None:
    with pytest.raises(StartError, match=r"No address of 192\.0\.2\.1 belongs to this machine; change --host\."):
        bind("192.0.2.1", 0, "--http-port", "--host")
    with pytest.raises(StartError, match=r"not a known host name or address; change --host\."):
        bind("no.such.name.invalid", 0, "--http-port", "--host")


def test_allowed_hosts_are_names_separated_by_commas() -> None:
    assert parse_allowed_hosts("") == ()
    assert parse_allowed_hosts(" ares.example.com, ares-otel ,,my_box,[::1],10.0.0.1") == (
        "ares.example.com",
        "ares-otel",
        "my_box",
        "[::1]",
        "10.0.0.1",
    )


@pytest.mark.parametrize("wrong", ["http://x/", "x/", "x:8080", "x y", "*.example.com", "bücher.example", "[x]"])
def test_an_allowed_host_that_could_never_match_is_one_clear_line(wrong: str) -> None:
    with pytest.raises(StartError, match="--allowed-hosts: ") as caught:
        parse_allowed_hosts(f"good,{wrong}")
    assert repr(wrong) in caught.value.message


async def test_when_one_listener_cannot_start_the_other_does_not_stay() -> None:
    async with running({"http": None}) as first:
        taken = first.receiver.doors["otlp-http"].removeprefix("http://")
        (probe,) = bind("127.0.0.1", 0, SETTING)
        free = f"127.0.0.1:{probe.getsockname()[1]}"
        probe.close()
        with pytest.raises(StartError):
            async with running({"grpc": {"endpoint": free}, "http": {"endpoint": taken}}):
                pass
        async with running({"grpc": {"endpoint": free}}) as second:
            assert second.grpc_target == free


def test_addresses_are_shown_as_in_a_url() -> None:
    assert (shown("127.0.0.1", 80), shown("::1", 80), shown("", 80)) == ("127.0.0.1:80", "[::1]:80", "0.0.0.0:80")
