"""Where a health check may go, and where it may not."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.control.probe_targets import ProbeTargets, Target, TargetRefused

POLICY = ProbeTargets()
LOCAL = ProbeTargets(allow_local=True)

FORBIDDEN = [
    "127.0.0.1",
    "127.8.9.10",
    "::1",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "169.254.169.254",
    "169.254.170.2",
    "fe80::1",
    "fec0::1",
    "fd00:ec2::254",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::169.254.169.254",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_a_local_or_metadata_address_is_refused_however_it_is_wrapped(address: str) -> None:
    with pytest.raises(TargetRefused, match="--probe-allow-local"):
        POLICY.check(ip_address(address))
    LOCAL.check(ip_address(address))


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "172.16.0.9", "192.168.1.1", "100.64.0.1", "8.8.8.8", "fd12::1", "2606::1"]
)
def test_private_and_public_addresses_are_allowed(address: str) -> None:
    POLICY.check(ip_address(address))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:7f00:1]",
        "169.254.169.254",
        "0xa9fea9fe",
        "0",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "metadata.google.internal",
        "Metadata.Google.Internal.",
    ],
)
def test_no_way_of_writing_a_local_host_gets_through(host: str) -> None:
    with pytest.raises(TargetRefused, match="--probe-allow-local"):
        POLICY.parse(f"http://{host}:8080/health")
    LOCAL.parse(f"http://{host}:8080/health")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "orders:8000/health",
        "ftp://orders/health",
        "file:///etc/passwd",
        "gopher://orders:70/1",
        "http://",
        "http://:80/",
        "http://orders:0/",
        "http://orders:99999/",
        "http://orders:x/",
        "http://user:secret@orders/",
        "http://user@orders/",
        "http://orders/#part",
        "http://orders/#",
        "http://orders/a b",
        "http://orders/\r\nHost: other",
        "http://orders\\@127.0.0.1/",
        "http://örders/",
        "http://[fe80::1%25eth0]/",
        "http://[::1/",
        "http://or%64ers/",
        "http://" + "a" * 2000,
    ],
)
def test_what_is_no_plain_http_address_is_refused(url: str) -> None:
    for policy in (POLICY, LOCAL):
        with pytest.raises(TargetRefused) as refused:
            policy.parse(url)
        assert str(refused.value).endswith(".")
        assert "secret" not in str(refused.value)


def test_a_url_is_taken_apart() -> None:
    assert POLICY.parse("https://Orders.internal:8443/health?deep=1") == Target(
        "https", "orders.internal", 8443, "/health?deep=1"
    )
    assert POLICY.parse("http://[2606:4700::1]").authority == "[2606:4700::1]"
    assert POLICY.parse("http://10.0.0.1:8080").authority == "10.0.0.1:8080"
    assert POLICY.parse("https://orders").authority == "orders"


@given(st.text(max_size=60), st.sampled_from(["", "http://", "https://[", "http://a:"]))
def test_any_text_is_a_target_or_a_sentence(text: str, prefix: str) -> None:
    target: Target | None = None
    told = "."
    try:
        target = POLICY.parse(prefix + text)
    except TargetRefused as error:
        told = str(error)
    assert told.endswith(".")
    if target is not None:
        assert target.scheme in ("http", "https")
        assert target.host
        assert target.path.startswith("/")
