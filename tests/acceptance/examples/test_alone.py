"""Where nobody takes telemetry, from the start: the service answers as ever, says what is wrong once, and ends."""

from __future__ import annotations

import signal

import pytest

from tests.support.ares_process import AresProcess
from tests.support.example import EXAMPLES
from tests.support.forked_application import run_application
from tests.support.ports import free_port

STRAIGHT = {f"OTEL_{signal}_EXPORTER": "ares_postgres" for signal in ("TRACES", "LOGS", "METRICS")}

SERVICE = f"""
    import os, signal, sys, threading, time
    import uvicorn
    from tests.support.example_orders import send

    sys.path.insert(0, {str(EXAMPLES / "fastapi_orders")!r})
    port = int(os.environ["PORT"])
    server = uvicorn.Server(uvicorn.Config("app:app", port=port))

    def ask():
        try:
            while not server.started:
                time.sleep(0.01)
            for _ in range(3):
                send(f"http://127.0.0.1:{{port}}")  # the answers are looked at there
            print("answered as ever")
        finally:
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=ask).start()
    server.run()
"""


@pytest.mark.parametrize("exporters", [{}, STRAIGHT], ids=["by OTLP", "straight"])
def test_a_service_runs_as_well_where_nobody_takes_its_telemetry(exporters: dict[str, str], ares: AresProcess) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    env = {
        "PORT": str(free_port()),
        "DATABASE_URL": ares.database,  # the orders are kept all the same
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{nowhere}",
        "ARES_OTEL_API_URL": f"http://{nowhere}",
        "ARES_OTEL_DATABASE_URL": f"postgresql://ares@{nowhere}/ares",
        "OTEL_BSP_SCHEDULE_DELAY": "20",  # many attempts while it runs
        "OTEL_BLRP_SCHEDULE_DELAY": "20",
        "OTEL_METRIC_EXPORT_INTERVAL": "20",
    }
    done = run_application(SERVICE, {**env, **exporters})
    assert done.stdout.splitlines()[-1:] == ["answered as ever"], done.stderr
    assert done.returncode == -signal.SIGTERM  # uvicorn ends by the signal that ended it
    said = done.stderr
    assert said.count("Settings of orders are not followed just now") == 1
    assert said.count("orders is not in the service registry just now") == 1
    assert said.count("Telemetry cannot be stored now") == bool(exporters)
    assert "was never awaited" not in said
