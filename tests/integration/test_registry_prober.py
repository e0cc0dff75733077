"""Health checks: bounded in time, bytes and reach, and done once over all processes."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import pytest

from ares_otel.control.probe import HealthCheck, ProbeResult
from ares_otel.control.probe_targets import ProbeTargets, Resolver
from ares_otel.control.prober import CONCURRENCY, Prober
from ares_otel.control.registry import Registration, Registry, ServiceId, ServiceRow
from tests.support.eventually import eventually
from tests.support.registry import HealthServer, Recorded, health_server, history

LOCAL = ProbeTargets(allow_local=True)


@pytest.fixture
async def server() -> AsyncIterator[HealthServer]:
    async with health_server() as made:
        yield made


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database_url, min_size=0, max_size=8) as made:
        yield made


async def check(url: str, timeout: float = 10.0, targets: ProbeTargets = LOCAL) -> ProbeResult:
    resolver = Resolver()
    checker = HealthCheck(targets, resolver)
    try:
        return await checker.check(url, timeout)
    finally:
        await checker.close()
        resolver.close()


class TestOneCheck:
    async def test_2xx_is_well_and_its_time_is_measured(self, server: HealthServer) -> None:
        result = await check(server.url("/ok?deep=1", "localhost"))
        assert (result.ok, result.error) == (True, None)
        assert result.latency_ms is not None
        assert result.latency_ms > 0
        assert server.seen == ["/ok?deep=1"]
        assert f"\r\nHost: localhost:{server.port}\r\n" in server.heads[0]

    async def test_another_status_is_told(self, server: HealthServer) -> None:
        result = await check(server.url("/error"))
        assert (result.ok, result.error) == (False, "The answer was 500; 2xx is expected.")

    @pytest.mark.parametrize("path", ["/hang", "/drip"])
    async def test_a_server_that_takes_its_time_is_given_up(self, server: HealthServer, path: str) -> None:
        result = await check(server.url(path), 0.5)
        assert (result.ok, result.error) == (False, "No answer within 0.5 s.")

    async def test_an_endless_body_is_left_unread(self, server: HealthServer) -> None:
        assert (await check(server.url("/huge"))).ok

    @pytest.mark.parametrize("path", ["/garbage", "/headers"])
    async def test_what_is_no_http_is_a_failure(self, server: HealthServer, path: str) -> None:
        result = await check(server.url(path))
        assert not result.ok
        assert result.error
        assert len(result.error) <= 500

    async def test_a_redirect_on_the_same_host_is_followed_a_few_times(self, server: HealthServer) -> None:
        assert (await check(server.url("/redirect//ok"))).ok
        assert (await check(server.url("/loop"))).error == "It redirects more than 3 times."
        assert server.seen.count("/loop") == 4

    @pytest.mark.parametrize(
        "place", ["http://169.254.169.254/latest/meta-data/", "http://example.com/", "//10.0.0.1/"]
    )
    async def test_a_redirect_elsewhere_is_not_followed(self, server: HealthServer, place: str) -> None:
        result = await check(server.url(f"/redirect/{place}"), 5.0)
        assert result.error == "It redirects to another host, which a health check does not follow."
        assert (await check(server.url("/redirect/file:///etc/passwd"))).error == (
            "The URL must begin with http:// or https://."
        )

    async def test_a_name_that_leads_to_loopback_is_refused_after_it_was_looked_up(
        self, server: HealthServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Names are the attacker's: this one answers with a public address first and with loopback as well."""
        asked = []

        def lookup(host: str, port: int, **_: object) -> list[object]:
            asked.append(host)
            if host != "rebind.example":
                raise socket.gaierror("not a number")
            return [(2, 1, 6, "", ("203.0.113.7", port)), (2, 1, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        result = await check(server.url("/ok", "rebind.example"), targets=ProbeTargets())
        assert result.error is not None
        assert "127.0.0.1 is loopback" in result.error
        assert server.seen == []

    async def test_a_name_is_looked_up_once_for_a_check_with_redirects(
        self, server: HealthServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was checked is what is connected to: a second look-up could give another address."""
        asked = []

        def lookup(host: str, port: int, *, flags: int, **_: object) -> list[object]:
            if flags & socket.AI_NUMERICHOST:
                raise socket.gaierror("not a number")
            asked.append(host)
            return [(2, 1, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        assert (await check(server.url("/redirect//ok", "orders.example"))).ok
        assert asked == ["orders.example"]

    async def test_proxies_of_the_environment_do_not_count(
        self, server: HealthServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        assert (await check(server.url("/ok"))).ok

    async def test_nobody_there_is_told(self) -> None:
        result = await check("http://127.0.0.1:1/")
        assert result.error is not None
        assert result.error.startswith("It cannot be connected to: ")


class Process:
    """The registry and the prober of an Ares process. A check has plenty of time, also on a busy machine, where a test
    does not say otherwise."""

    def __init__(self, pool: asyncpg.Pool, *, interval: float = 1.0, timeout: float = 60.0) -> None:
        self.bus = Recorded()
        self.results: list[bool] = []
        self.registry = Registry(pool, interval=lambda: interval, targets=LOCAL, bus=self.bus)
        self.prober = Prober(
            pool,
            interval=lambda: interval,
            timeout=lambda: timeout,
            targets=LOCAL,
            announcer=self.registry.announcer,
            on_result=self.results.append,
        )

    async def stop(self) -> None:
        await self.prober.stop()
        await self.registry.stop()


async def probed(registry: Registry, row: ServiceRow) -> ServiceRow:
    """The row after its first check."""

    async def look() -> ServiceRow | None:
        found = await registry.get(ServiceId(row.id))
        return found if found.last_probe is not None else None

    found = await eventually(look, every=0.05)
    assert found is not None
    return found


class TestProber:
    async def test_the_check_decides_between_online_and_degraded(
        self, pool: asyncpg.Pool, server: HealthServer
    ) -> None:
        ares = Process(pool, interval=60)
        await ares.prober.start()
        well, _ = await ares.registry.register(Registration("well", health_url=server.url("/ok")))
        ill, _ = await ares.registry.register(Registration("ill", health_url=server.url("/error")))
        well, ill = await probed(ares.registry, well), await probed(ares.registry, ill)
        assert (well.status, well.last_probe_ok, well.last_probe_error) == ("online", True, None)
        assert (ill.status, ill.last_probe_ok, ill.last_probe_error) == (
            "degraded",
            False,
            "The answer was 500; 2xx is expected.",
        )
        assert ill.status_reason == "Its health check fails although it was heard of."
        again, _ = await ares.registry.register(Registration("ill", health_url=server.url("/ok")))
        assert (again.status, again.last_probe) == ("online", None)
        assert again.next_probe_at == ill.next_probe_at, "another address is no way to be asked more often"
        await ares.stop()
        assert sorted(ares.results) == [False, True]
        assert ares.bus.topics("ill") == ["service.online", "service.degraded", "service.online"]

    async def test_who_answers_its_health_check_lives_without_heartbeats(
        self, pool: asyncpg.Pool, server: HealthServer
    ) -> None:
        ares = Process(pool, interval=0.4, timeout=1.5)  # asked less often than every third interval
        await ares.prober.start()
        await ares.registry.start()
        row, _ = await ares.registry.register(Registration("polled", health_url=server.url("/ok")))

        async def asked() -> bool:
            return len(server.seen) >= 4

        await eventually(asked, every=0.05)
        row = await ares.registry.get(ServiceId(row.id))
        assert (row.status, row.status_reason, row.signs_heartbeats) == ("online", "It registered.", False)
        assert await history(pool, "polled") == [(None, "online")]
        await ares.stop()

    async def test_two_processes_never_ask_a_service_twice_in_an_interval(
        self, pool: asyncpg.Pool, server: HealthServer
    ) -> None:
        one, two = (Process(pool, interval=3600) for _ in range(2))
        for number in range(120):
            await one.registry.register(Registration(f"s{number}", health_url=server.url(f"/ok/{number}")))
        await one.prober.start()
        await two.prober.start()

        async def all_done() -> bool:
            return len(one.results) + len(two.results) >= 120

        await eventually(all_done, every=0.05)
        await one.stop()
        await two.stop()
        assert set(Counter(server.seen).values()) == {1}
        assert len(server.seen) == 120
        assert await pool.fetchval("SELECT count(*) FROM service_registry WHERE last_probe_ok") == 120
        assert await pool.fetchval(
            "SELECT bool_and(next_probe_at - last_probe BETWEEN interval '59 minutes' AND interval '73 minutes')"
            " AND count(DISTINCT next_probe_at) > 100 FROM service_registry"
        )

    async def test_a_process_that_dies_in_a_check_costs_one_check(
        self, pool: asyncpg.Pool, server: HealthServer
    ) -> None:
        dying, living = Process(pool, interval=1.0, timeout=1.0), Process(pool, interval=1.0, timeout=1.0)
        row, _ = await living.registry.register(Registration("orders", health_url=server.url("/hang")))
        await dying.prober.start()

        async def asked() -> bool:
            return bool(server.seen)

        await eventually(asked, every=0.02)
        await dying.stop()
        assert (await living.registry.get(ServiceId(row.id))).last_probe is None
        await pool.execute("UPDATE service_registry SET health_url = $1", server.url("/ok"))
        await living.prober.start()
        assert (await probed(living.registry, row)).last_probe_ok
        await living.stop()

    async def test_servers_that_hang_do_not_hold_up_the_others_for_long(
        self, pool: asyncpg.Pool, server: HealthServer
    ) -> None:
        ares = Process(pool, interval=60, timeout=2.0)
        for number in range(2 * CONCURRENCY):
            await ares.registry.register(Registration(f"hang{number}", health_url=server.url("/hang")))
        row, _ = await ares.registry.register(Registration("orders", health_url=server.url("/ok")))
        most = 0
        await ares.prober.start()

        async def done() -> bool:
            nonlocal most
            most = max(most, ares.prober.running)
            return len(ares.results) == 2 * CONCURRENCY + 1

        await eventually(done, every=0.05)
        assert most <= CONCURRENCY
        assert (await ares.registry.get(ServiceId(row.id))).status == "online"
        assert await pool.fetchval("SELECT count(*) FROM service_registry WHERE status = 'degraded'") == 2 * CONCURRENCY
        await ares.stop()

    async def test_a_shorter_interval_counts_at_once(self, pool: asyncpg.Pool, server: HealthServer) -> None:
        ares = Process(pool, interval=0.5)
        await ares.registry.register(Registration("orders", health_url=server.url("/ok")))
        await pool.execute("UPDATE service_registry SET next_probe_at = now() + interval '1 hour'")
        await ares.prober.start()

        async def asked() -> bool:
            return bool(ares.results)

        await eventually(asked, every=0.05)
        await ares.stop()

    async def test_a_result_does_not_count_for_another_address(self, pool: asyncpg.Pool, server: HealthServer) -> None:
        ares = Process(pool, interval=3600, timeout=1.0)
        row, _ = await ares.registry.register(Registration("orders", health_url=server.url("/hang")))
        await ares.prober.start()

        async def asked() -> bool:
            return bool(server.seen)

        await eventually(asked, every=0.02)
        await ares.registry.register(Registration("orders", health_url=server.url("/ok")))

        async def written() -> bool:
            return bool(ares.results)

        await eventually(written, every=0.05)
        row = await ares.registry.get(ServiceId(row.id))
        assert (row.status, row.last_probe) == ("online", None)
        await ares.stop()
