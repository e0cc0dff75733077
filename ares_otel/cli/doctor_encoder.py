"""What `ares-otel doctor` says about the row encoder: of this installation, and of the process that runs."""

from __future__ import annotations

import os

from prometheus_client.parser import text_string_to_metric_families

from ares_otel.cli.doctor import Finding, ok, problem, warning
from ares_otel.model.errors import StartError
from ares_otel.storage.rows.implementation import VARIABLE, choose


def check_encoder() -> Finding:
    """Which encoder a process of this installation takes, with the variables that this command has."""
    try:
        chosen = choose(os.environ.get(VARIABLE, ""))
    except StartError as error:
        return problem("encoder", f"Ares does not start: {error.message}")
    if chosen.expected:
        return ok("encoder", chosen.sentence)
    return warning("encoder", f"{chosen.sentence} Until then Ares takes in several times fewer items a second.")


def check_running_encoder(metrics: str) -> list[Finding]:
    """A line when the process whose `/metrics` this is encodes otherwise than this command would."""
    running = {
        sample.labels.get("implementation", "")
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.name == "ares_otel_encoder_info" and sample.value
    }
    try:
        here = choose(os.environ.get(VARIABLE, "")).name
    except StartError:
        return []
    return [
        warning("encoder", f"The running Ares encodes rows with the {name} encoder; started anew it would be {here}.")
        for name in sorted(running - {here})
    ]
