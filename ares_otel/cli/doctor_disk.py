"""What `ares-otel doctor` sees on this machine's disks: the spool directory, and room."""

from __future__ import annotations

import json
import os
import pwd
import shutil
from datetime import UTC, datetime
from pathlib import Path

import psutil

from ares_otel.cli.doctor import Finding, State, ok, problem, warning
from ares_otel.model.signal import SIGNALS
from ares_otel.storage.spool.files import file_name, list_quarantine, list_signal
from ares_otel.storage.spool.format import HEADER_BYTES
from ares_otel.storage.spool.lock import LOCK
from ares_otel.storage.spool.workers import worker_directories

LITTLE, TOO_LITTLE = 0.10, 0.03
"""Free parts of a disk below which it is a warning, a problem."""
LEAST_BYTES = 256 * 1024 * 1024
"""Less than that is a problem on a disk of any size."""
_MAX_HOLDER = 16_384


def check_spools(directory: Path) -> list[Finding]:
    """The spool directory, and those of workers below it, of which the empty ones are left out."""
    findings = check_spool(directory)
    try:
        places = list(worker_directories(directory).values())
    except OSError:
        return findings  # said already
    for place in places:
        found = check_spool(place)
        if any(finding.state is not State.OK for finding in found):
            findings += found
    return findings


def check_spool(directory: Path) -> list[Finding]:
    """The spool directory: whose it is, how much waits there, and since when. Reads, and changes nothing."""
    try:
        if not directory.exists():
            return [ok("spool", f"There is no {directory}: nothing waits on this machine.")]
        segments = [
            directory / name / file_name(number)
            for name in SIGNALS
            for number in list_signal(directory / name).segments
        ]
        stats = [stat for path in segments if (stat := _stat(path)) is not None and stat.st_size > HEADER_BYTES]
        aside = list_quarantine(directory)
        owner = pwd_name(directory.stat().st_uid)
    except OSError as error:
        return [
            problem(
                "spool",
                f"{error.filename or directory} cannot be read ({error.strerror}); run this as the user who runs Ares, "
                "or name another directory by --spool-dir.",
            )
        ]
    holder = _holder(directory)
    whose = f"{directory} (user {owner}, {holder})"
    findings = []
    if not stats:
        findings.append(ok("spool", f"{whose} is empty: nothing waits for the database."))
    else:
        size = sum(stat.st_size for stat in stats)
        since = datetime.fromtimestamp(min(stat.st_mtime for stat in stats), UTC)
        text = f"{whose} holds {amount(size)} in {len(stats)} segments, written since {since:%Y-%m-%d %H:%M:%S} UTC"
        if holder.startswith("no process"):
            findings.append(
                problem("spool", f"{text}: start the Ares that it belongs to, or run `ares-otel spool replay`.")
            )
        else:
            findings.append(warning("spool", f"{text}; its process stores it when the database takes data."))
    if aside:
        findings.append(
            problem(
                "spool",
                f"{len(aside)} segments were set aside as damaged in {aside[0].path.parent}: what could not be read "
                "there is lost unless you mend it. Keep the files, look at the disk, and see `ares-otel spool ls`.",
            )
        )
    return findings


def check_disk(*directories: Path) -> list[Finding]:
    """Room on the disks that hold the directories, one line a disk."""
    findings, seen = [], set()
    for directory in directories:
        place = directory
        while not place.exists() and place != place.parent:
            place = place.parent
        try:
            device = place.stat().st_dev
            usage = shutil.disk_usage(place)
        except OSError as error:
            findings.append(
                problem("disk", f"{place} cannot be read ({error.strerror}); run this as the user who runs Ares.")
            )
            continue
        if device not in seen:
            seen.add(device)
            findings.append(room(place, usage.free, usage.total))
    return findings


def room(place: Path, free: int, total: int) -> Finding:
    """What so many free bytes of a disk mean."""
    share = free / total if total else 0.0
    text = f"{amount(free)} of {amount(total)} are free on the disk of {place}"
    if share < TOO_LITTLE or free < LEAST_BYTES:
        return problem("disk", f"Only {text}: make room now; when it is full, senders are refused.")
    if share < LITTLE:
        return warning("disk", f"Only {text}: make room, or shorten the retention.")
    return ok("disk", f"{text}.")


def amount(size: int) -> str:
    """Bytes for people."""
    value = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def pwd_name(uid: int) -> str:
    """The user's name; the number when it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None  # replayed and deleted in this very moment


def _holder(directory: Path) -> str:
    """Who says to own the directory, and lives. Asking the lock itself could keep an Ares from starting."""
    try:
        with (directory / LOCK).open("rb") as file:
            pid = int(json.loads(file.read(_MAX_HOLDER))["pid"])
    except (OSError, ValueError, TypeError, KeyError):
        return "no process"
    return f"process {pid}" if psutil.pid_exists(pid) else f"no process, {pid} was the last"
