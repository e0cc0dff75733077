"""`ares-otel up`: doors, mistakes that a person makes, and what is left after it stops."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from pathlib import Path

import asyncpg
import httpx
import pytest

from ares_otel.storage.migrate import read_migrations
from tests.support.ares_process import AresProcess, command, environment, run_ares, running_ares
from tests.support.otlp_samples import trace_request

OTLP = {"Content-Type": "application/x-protobuf"}


def send(ares: AresProcess, service: str, spans: int = 1) -> None:
    body = trace_request(service=service, spans=spans).SerializeToString()
    httpx.post(f"{ares.otlp_http}/v1/traces", content=body, headers=OTLP, trust_env=False).raise_for_status()


async def count(url: str, condition: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval(f"SELECT count(*) FROM service_spans WHERE {condition}"))
    finally:
        await connection.close()


class TestDoors:
    def test_every_door_is_printed_with_its_name(self, ares: AresProcess) -> None:
        assert list(ares.doors) == ["http", "otlp-grpc", "otlp-http", "jaeger-grpc", "sampling", "database"]

    def test_the_api_answers_that_it_is_ready(self, ares: AresProcess) -> None:
        assert httpx.get(f"{ares.http}/readyz", trust_env=False).json() == {"status": "ready"}

    def test_psql_comes_with_it(self, ares: AresProcess) -> None:
        done = run_ares(["psql", "--database-url", ares.database, "-Atc", "SELECT count(*) >= 0 FROM service_spans"])
        assert (done.returncode, done.stdout) == (0, "t\n")

    @pytest.mark.parametrize("door", ["http", "otlp-http"])
    def test_a_web_page_that_rebinds_its_name_does_not_get_in(self, ares: AresProcess, door: str) -> None:
        answer = httpx.get(ares.doors[door], headers={"Host": "evil.example"}, trust_env=False)
        assert answer.status_code == 421

    @pytest.mark.parametrize("door", ["http", "otlp-http"])
    def test_a_page_of_another_origin_does_not_get_in(self, ares: AresProcess, door: str) -> None:
        answer = httpx.get(ares.doors[door], headers={"Origin": "https://evil.example"}, trust_env=False)
        assert answer.status_code == 403


class TestMistakes:
    def test_an_occupied_port_is_one_clear_line(self, database_url: str, tmp_path: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            doors = ("--http-port", "--otlp-grpc-port", "--otlp-http-port", "--jaeger-grpc-port", "--sampling-port")
            for option in doors:
                flags = [word for door in doors for word in (door, port if door == option else "0")]
                done = run_ares(["up", "--data-dir", str(tmp_path), "--database-url", database_url, *flags])
                assert done.returncode == 1
                assert done.stdout == ""
                last = done.stderr.strip().splitlines()[-2:]
                assert any(port in line for line in last), done.stderr
                assert "Traceback" not in done.stderr

    def test_a_wrong_password_is_one_clear_line_that_does_not_show_it(self, tmp_path: Path) -> None:
        url = "postgresql://ares:hunter2@127.0.0.1:1/ares"
        done = run_ares(["up", "--data-dir", str(tmp_path), "--database-url", url])
        assert done.returncode == 1
        assert "--database-url" in done.stderr
        assert "hunter2" not in done.stderr + done.stdout
        assert "Traceback" not in done.stderr

    def test_other_addresses_than_loopback_need_a_word_of_consent(self, database_url: str, tmp_path: Path) -> None:
        arguments = ["up", "--data-dir", str(tmp_path), "--database-url", database_url, "--host", "0.0.0.0"]
        done = run_ares(arguments)
        assert done.returncode == 1
        assert "--allow-unauthenticated" in done.stderr

    def test_with_consent_other_addresses_work(self, database_url: str, tmp_path: Path) -> None:
        flags = ("--database-url", database_url, "--host", "0.0.0.0", "--allow-unauthenticated")
        with running_ares(tmp_path, *flags, "--allowed-hosts", "ares.example") as ares:
            port = ares.http.rpartition(":")[2]
            for name, status in (("ares.example", 200), ("evil.example", 421)):
                answer = httpx.get(f"http://127.0.0.1:{port}/readyz", headers={"Host": name}, trust_env=False)
                assert answer.status_code == status

    def test_a_mistake_in_the_configuration_is_found_before_anything_starts(self, tmp_path: Path) -> None:
        file = tmp_path / "ares.yaml"
        file.write_text("receivers:\n  otpl:\nexporters:\n  postgres:\nservice:\n  pipelines: {}\n")
        done = run_ares(["up", "--data-dir", str(tmp_path / "data"), "--config", str(file)])
        assert done.returncode == 1
        assert f"{file}:2:3" in done.stderr
        assert "'otlp'" in done.stderr
        assert not (tmp_path / "data").exists()

    def test_an_option_that_the_configuration_does_not_read_is_an_error(self, tmp_path: Path) -> None:
        file = tmp_path / "ares.yaml"
        file.write_text(
            "receivers: {otlp: {protocols: {grpc: {endpoint: '127.0.0.1:0'}}}}\nexporters: {postgres: }\n"
            "service: {pipelines: {traces: {receivers: [otlp], exporters: [postgres]}}}\n"
        )
        flags = ["--config", str(file), "--otlp-grpc-port", "4999"]
        done = run_ares(["up", "--data-dir", str(tmp_path / "data"), *flags])
        assert done.returncode == 1
        assert "--otlp-grpc-port has no effect" in done.stderr

    def test_a_mistyped_variable_is_said(self, database_url: str, tmp_path: Path) -> None:
        variables = {"ARES_OTEL_HTP_PORT": "1", "ARES_OTEL_CONFIG_KEY": "00" * 32}
        with running_ares(tmp_path, "--database-url", database_url, env=variables) as ares:
            assert "ARES_OTEL_HTP_PORT is set, but nothing reads it; did you mean 'ARES_OTEL_HTTP_PORT'?" in ares.stderr
            assert "ARES_OTEL_CONFIG_KEY" not in ares.stderr

    def test_a_second_start_says_who_holds_the_directory(self, data_dir: Path) -> None:
        with running_ares(data_dir) as ares:
            done = run_ares(["up", "--data-dir", str(data_dir)])
            assert done.returncode == 1
            assert str(ares.pid) in done.stderr
            assert ares.http in done.stderr
            inside = run_ares(["psql", "--data-dir", str(data_dir), "-Atc", "SELECT current_user"])
            assert inside.stdout == "ares\n"


class TestMigrateCommand:
    def test_it_says_what_it_would_do_then_does_it_then_has_nothing_to_do(self, empty_database_url: str) -> None:
        flags = ["--database-url", empty_database_url]
        pending = run_ares(["migrate", *flags, "--dry-run"])
        assert pending.returncode == 0
        assert "would apply 001_service_registry.sql" in pending.stdout
        assert "pending" in run_ares(["migrate", *flags, "--status"]).stdout
        assert f"{len(read_migrations())} migrations applied" in run_ares(["migrate", *flags]).stdout
        assert run_ares(["migrate", *flags, "--dry-run"]).stdout == "nothing to apply\n"
        assert "pending" not in run_ares(["migrate", *flags, "--status"]).stdout


class TestOwnTelemetry:
    async def test_requests_of_the_api_become_spans_and_nothing_else_does(
        self, database_url: str, tmp_path: Path
    ) -> None:
        """Were the storing of spans itself traced, there would be more spans than requests."""
        with running_ares(tmp_path, "--database-url", database_url) as ares:
            async with httpx.AsyncClient(trust_env=False, base_url=ares.http) as client:
                for _ in range(3):
                    (await client.get("/api/v1/observability/health")).raise_for_status()
                    (await client.get("/api/v1/observability/metrics")).raise_for_status()
                    (await client.get("/metrics")).raise_for_status()
                    (await client.get("/jaeger/api/services")).raise_for_status()
            send(ares, "somebody")
        assert await count(database_url, "service_name = 'ares-api' AND kind = 'server'") == 6
        assert await count(database_url, "service_name = 'ares-api'") == 6
        connection = await asyncpg.connect(database_url)
        ready = await connection.fetchval(
            "SELECT count(*) FROM service_logs WHERE service_name = 'ares-api' AND message LIKE '%is ready.' "
            "AND source_file IS NOT NULL"
        )
        await connection.close()
        assert ready == 1


class TestStopping:
    def test_an_interrupt_during_the_start_leaves_nothing_running(self, data_dir: Path) -> None:
        with subprocess.Popen(
            [
                *command("up"),
                f"--data-dir={data_dir}",
                "--http-port=0",
                "--otlp-grpc-port=0",
                "--jaeger-grpc-port=0",
                "--sampling-port=0",
            ],
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            assert process.stderr is not None
            assert process.stderr.readline()  # the first step has begun
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read().decode()
        assert process.returncode == 0, rest
        assert "stopped." in rest
        assert not re.search(r"Traceback|Error", rest)
        held = run_ares(["migrate", "--data-dir", str(data_dir)])
        assert held.returncode == 0, held.stderr
