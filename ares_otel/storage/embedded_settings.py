"""The settings of the embedded server, each with its reason. `docs/embedded-postgres.md` mirrors the table.

Settings that only a running server needs to be told (socket directory, port) stand on its command line.
"""

from __future__ import annotations

from dataclasses import dataclass

CLUSTER_NAME = "ares-otel"
CONFIG_FILE = "postgresql.conf"
USER_CONFIG_FILE = "postgresql.user.conf"
LOG_DIRECTORY = "log"
LOG_PREFIX = "server-"
LOG_FILES_KEPT = 8
MAX_CONNECTIONS = 60
"""More where there are workers: each of them has connections of its own."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: name and value as in postgresql.conf, and why it has this value."""

    name: str
    value: str
    reason: str


SETTINGS: tuple[Setting, ...] = (
    # The promise: an answer means stored.
    Setting("fsync", "on", "An answer promises that the data is on the disk. Never off."),
    Setting("synchronous_commit", "on", "COMMIT returns when the data is on the disk, and the answer follows COMMIT."),
    Setting("full_page_writes", "on", "A page half written at a power cut can be repaired."),
    # Who can connect.
    Setting("listen_addresses", "", "No TCP port: only the socket, in a directory closed to other users."),
    Setting(
        "max_connections",
        str(MAX_CONNECTIONS),
        "Ares uses less than half; the rest is for psql, dashboards and backups. Each place costs lock table memory; "
        "--workers adds what it needs.",
    ),
    # Memory.
    Setting("shared_buffers", "256MB", "Holds the pages of the open partitions; touched, and so used, only as needed."),
    Setting("work_mem", "16MB", "Percentiles over an hour of spans sort in memory instead of on disk."),
    Setting("maintenance_work_mem", "128MB", "Search indexes of a closed partition are built in few passes."),
    Setting(
        "max_locks_per_transaction",
        "512",
        "A query without a time range locks every partition and each of its indexes; "
        "PostgreSQL 18 also sizes its fast lock slots by it.",
    ),
    # Write-ahead log.
    Setting("wal_buffers", "16MB", "Room for the group commits of all writer connections at once."),
    Setting(
        "wal_compression",
        "pglz",
        "Full page images, most of the log after a checkpoint, shrink; this build has neither lz4 nor zstd.",
    ),
    Setting(
        "max_wal_size",
        "2GB",
        "Checkpoints come by the clock, not by volume: each one makes the next writes log whole pages. "
        "Bounds the time of recovery after a crash.",
    ),
    Setting("min_wal_size", "256MB", "Log files are recycled instead of made anew, and an idle server stays small."),
    Setting(
        "checkpoint_timeout", "15min", "Fewer checkpoints, fewer full page images; max_wal_size still bounds recovery."
    ),
    # Planning.
    Setting("jit", "off", "A query over many partitions looks costly enough to compile, which it seldom is."),
    Setting("random_page_cost", "1.1", "Data directories are on solid-state disks today."),
    Setting("io_workers", "2", "Two helpers for reading ahead are enough beside Ares on one machine."),
    Setting("max_logical_replication_workers", "0", "Nothing subscribes from this server: one process less."),
    # Housekeeping.
    Setting(
        "autovacuum_vacuum_insert_threshold",
        "100000",
        "Telemetry is only ever inserted: a partition is not vacuumed at every thousand new rows.",
    ),
    Setting("autovacuum_max_workers", "2", "Vacuuming leaves the other cores to ingest."),
    Setting(
        "autovacuum_analyze_scale_factor",
        "0.05",
        "The newest rows are the ones people ask for: the planner should know them early.",
    ),
    Setting(
        "idle_in_transaction_session_timeout",
        "10min",
        "A BEGIN forgotten in psql would keep old partitions from being dropped.",
    ),
    Setting("client_connection_check_interval", "10s", "A query whose client has left is cancelled."),
    # Language and time: the same everywhere, whatever the machine speaks.
    Setting("timezone", "UTC", "Times in psql read like those of the API."),
    Setting("log_timezone", "UTC", "The log's times compare with those of the API."),
    Setting("lc_messages", "C", "Messages that a person can search for."),
    Setting("default_text_search_config", "pg_catalog.english", "As on a server with an English locale."),
    # Log.
    Setting("cluster_name", CLUSTER_NAME, "Its processes say whose they are in ps and top."),
    Setting("logging_collector", "on", "The log goes to files in the data directory, not to the terminal."),
    Setting("log_filename", f"{LOG_PREFIX}%Y%m%d-%H%M%S.log", "A new file at each turn; Ares keeps the newest eight."),
    Setting("log_rotation_age", "1d", "A file a day."),
    Setting("log_rotation_size", "8MB", "Together with the eight files kept: the log stays under about 64 MB."),
    Setting("log_file_mode", "0600", "The log is for the owner of the data only."),
    Setting("log_error_verbosity", "terse", "DETAIL and CONTEXT lines quote rows: telemetry does not belong in a log."),
    Setting("log_lock_waits", "on", "A statement that waits for a lock is the first thing to know when ingest stalls."),
    Setting("log_temp_files", "64MB", "Tells which query outgrew work_mem."),
    Setting("log_autovacuum_min_duration", "1min", "Long vacuums show."),
)


def render_config(log_directory: str, connections: int = MAX_CONNECTIONS) -> str:
    """The text of postgresql.conf. `log_directory` is an absolute path."""
    lines = [
        "# Written by Ares OTel at every start: changes to this file are lost.",
        f"# Your own settings belong in {USER_CONFIG_FILE} beside it; they are read last and win.",
        "",
    ]
    for setting in SETTINGS:
        value = str(connections) if setting.name == "max_connections" else setting.value
        lines += [f"# {setting.reason}", f"{setting.name} = {_quote(value)}", ""]
    lines += [
        "# Below the data directory, so that it goes where the data goes.",
        f"log_directory = {_quote(log_directory)}",
        "",
        f"include_if_exists = '{USER_CONFIG_FILE}'",
        "",
    ]
    return "\n".join(lines)


USER_CONFIG = """\
# Your own PostgreSQL settings for the embedded server, one `name = value` a line. Read after the settings of
# Ares OTel and never changed by it. They take effect at the next start.
"""


def _quote(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
