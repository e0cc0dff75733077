"""What `ares-otel doctor` asks a running Ares over HTTP: is it ready, and what do its own metrics say."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
import orjson
from prometheus_client.parser import text_string_to_metric_families

from ares_otel.cli.doctor import Finding, ok, problem, warning
from ares_otel.cli.doctor_encoder import check_running_encoder
from ares_otel.model.errors import StartError

TIMEOUT = 10.0
_FULL = 0.9
"""Part of the memory budget in use from which on requests are refused now and then."""


async def check_process(url: str) -> list[Finding]:
    """Whether an Ares answers at the URL, whether it is ready, and what its metrics show."""
    address = url.rstrip("/")
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT) as client:
            ready = await client.get(f"{address}/readyz")
            metrics = await client.get(f"{address}/metrics")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return [problem("process", _no_answer(url, error))]
    findings = [readiness(url, ready.status_code, ready.content)]
    if metrics.status_code == 200 and "readyz" not in findings[0].sentence:
        findings += metric_findings(metrics.text)
        findings += check_running_encoder(metrics.text)
    return findings


def readiness(url: str, status: int, body: bytes) -> Finding:
    """What an answer of `/readyz` means."""
    try:
        content = orjson.loads(body)
        if status == 200 and content["status"] == "ready":
            return ok("process", f"An Ares answers at {url} and is ready.")
        if status == 503 and content["type"].startswith("urn:ares-otel:problem:"):
            return problem("process", f"The Ares at {url} is not ready: {content['detail']}")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        pass
    return problem(
        "process", f"What answers at {url}/readyz (status {status}) is no Ares; name its address with --url."
    )


def metric_findings(text: str) -> list[Finding]:
    """What is worth a line in the metrics of a process."""
    try:
        values = _sums(text)
    except ValueError:
        return [warning("metrics", "The answer of /metrics cannot be read; is it an Ares of this version?")]
    findings = []
    limit, used = values.get("ares_otel_admission_limit_bytes", 0), values.get("ares_otel_admission_used_bytes", 0)
    if limit and used > _FULL * limit:
        findings.append(
            warning(
                "metrics",
                f"{used / limit:.0%} of the memory for requests is in use: some are refused. The database is slower "
                "than the senders; raise --admission-limit-mib only when there is memory to spare.",
            )
        )
    if waiting := values.get("ares_otel_spool_waiting_items", 0):
        findings.append(warning("metrics", f"{waiting:.0f} acknowledged items wait in the spool for the database."))
    if lost := _outcome(text, "lost"):
        findings.append(
            problem(
                "metrics", f"{lost:.0f} acknowledged items were in damaged segments of the spool; see the quarantine."
            )
        )
    if values.get("ares_otel_bus_healthy", 1) == 0:
        findings.append(warning("metrics", "The wanted event bus is away and memory stands in for it; look at Redis."))
    if failed := values.get("ares_otel_partition_errors_total", 0):
        findings.append(
            warning(
                "metrics", f"The partition job failed {failed:.0f} times since the start; Ares's log has the reasons."
            )
        )
    findings = findings or [ok("metrics", "Nothing in its own metrics asks for attention.")]
    return findings + worker_findings(text)


def worker_findings(text: str) -> list[Finding]:
    """Whether all ingest processes run; nothing when there are none besides the process itself."""
    states = {
        sample.labels["state"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "ares_otel_workers"
    }
    wanted, ready = states.get("wanted", 0), states.get("ready", 0)
    if not wanted:
        return []
    if ready < wanted:
        return [
            problem(
                "workers",
                f"{ready:.0f} of {wanted:.0f} workers are ready; Ares keeps starting the others, and its log says why "
                "that fails.",
            )
        ]
    if restarts := _sums(text).get("ares_otel_worker_restarts_total", 0):
        return [
            warning(
                "workers",
                f"{ready:.0f} workers are ready, but {restarts:.0f} times one ended and was started again; Ares's log, "
                "or the kernel's (out of memory), says why.",
            )
        ]
    return [ok("workers", f"All {ready:.0f} are ready.")]


async def fetch_metrics(client: httpx.AsyncClient, url: str) -> str:
    """The text of `/metrics`. Raises StartError when nothing answers, or no Ares."""
    try:
        answer = await client.get(f"{url.rstrip('/')}/metrics", headers={"Accept": "text/plain"})
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StartError(_no_answer(url, error)) from error
    if answer.status_code != 200 or "ares_otel_" not in answer.text:
        raise StartError(f"What answers at {url}/metrics (status {answer.status_code}) is no Ares; use --url.")
    return answer.text


def _no_answer(url: str, error: Exception) -> str:
    return (
        f"Nothing answers at {url} ({type(error).__name__}): start Ares with `ares-otel up`, or name its address "
        "with --url."
    )


def _sums(text: str) -> Mapping[str, float]:
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


def _outcome(text: str, outcome: str) -> float:
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "ares_otel_spool_items_total" and sample.labels.get("outcome") == outcome
    )
