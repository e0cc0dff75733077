"""Where nobody takes telemetry, from the start: the service answers as ever, says what is wrong once, and ends."""

from __future__ import annotations

import signal

import pytest

from tests.support.ares_process import AresProcess
from tests.support.example import running
from tests.support.example_orders import orders, send
from tests.support.ports import free_port

STRAIGHT = {f"OTEL_{signal}_EXPORTER": "ares_postgres" for signal in ("TRACES", "LOGS", "METRICS")}


@pytest.mark.parametrize("exporters", [{}, STRAIGHT], ids=["by OTLP", "straight"])
def test_a_service_runs_as_well_where_nobody_takes_its_telemetry(exporters: dict[str, str], ares: AresProcess) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{nowhere}",
        "ARES_OTEL_API_URL": f"http://{nowhere}",
        "ARES_OTEL_DATABASE_URL": f"postgresql://ares@{nowhere}/ares",
        "OTEL_BSP_SCHEDULE_DELAY": "50",  # many attempts while it runs
        "OTEL_BLRP_SCHEDULE_DELAY": "50",
        "OTEL_METRIC_EXPORT_INTERVAL": "50",
    }
    with running(orders({"DATABASE_URL": ares.database, **env, **exporters})) as service:
        for _ in range(2):
            send(service.url)  # the answers are looked at there
        assert service.stop() == -signal.SIGTERM  # uvicorn ends by the signal that ended it
        lines = service.said.splitlines()
    about_settings = [line for line in lines if "Settings of orders" in line]
    about_registry = [line for line in lines if "orders is not in the service registry" in line]
    assert (len(about_settings), len(about_registry)) == (1, 1)
    assert len([line for line in lines if "Telemetry cannot be stored now" in line]) == bool(exporters)
    assert not [line for line in lines if "was never awaited" in line or "Task was destroyed" in line]
