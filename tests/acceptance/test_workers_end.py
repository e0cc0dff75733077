"""How `ares-otel up --workers 2` ends: killed, and in a hurry."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import httpx
import psutil

from tests.faults.support.account import read_metrics
from tests.support.ares_process import AresProcess, running_ares, said
from tests.support.eventually import eventually
from tests.support.senders import different_requests
from tests.support.stuck import stuck

OTLP = {"content-type": "application/x-protobuf"}


async def gone(workers: list[psutil.Process]) -> None:
    async def look() -> bool:
        return not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in workers)

    await eventually(look, every=0.02)


async def test_workers_do_not_outlive_a_killed_supervisor_and_the_next_one_takes_the_same_ports(
    database_url: str, tmp_path: Path
) -> None:
    flags = ("--database-url", database_url, "--workers", "2")
    with running_ares(tmp_path, *flags, env={"ARES_OTEL_WORKERS": "3"}) as ares:
        workers = ares.workers
        assert len(workers) == 2
        os.kill(workers[0].pid, signal.SIGSTOP)  # one that hangs ends all the same
        ares.kill()
        await gone(workers)
        ports = [
            f"{option}={ares.doors[name].rpartition(':')[2]}"
            for option, name in (("--otlp-grpc-port", "otlp-grpc"), ("--otlp-http-port", "otlp-http"))
        ]
    with running_ares(tmp_path, *flags, *ports, "--shutdown-grace", "600") as again:
        assert again.otlp_http == ares.otlp_http
        workers = again.workers
        await a_second_ctrl_c_ends_the_waiting(again)
    await gone(workers)


async def a_second_ctrl_c_ends_the_waiting(ares: AresProcess) -> None:
    """Also where requests are stuck in every worker; all of them are told to come back."""
    async with stuck(ares.database), httpx.AsyncClient(trust_env=False, timeout=120) as client:
        sending = [
            asyncio.create_task(client.post(f"{ares.otlp_http}/v1/traces", content=body, headers=OTLP))
            for body in different_requests(8, 2, "in work")
        ]

        async def in_work() -> bool:
            return (await read_metrics(ares.http)).sum("ares_otel_admission_used_bytes") > 0

        await eventually(in_work, every=0.02)
        os.killpg(ares.pid, signal.SIGINT)
        await said(ares, "stopping ...")
        os.killpg(ares.pid, signal.SIGINT)
        answers = await asyncio.gather(*sending)
        assert {answer.status_code for answer in answers} == {503}
    await asyncio.to_thread(ares.wait_clean)
