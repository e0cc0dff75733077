"""Settings of services: versions, history, rollback, secrets, and word of every change."""

from ares_otel.control.config.edits import Author, Condition
from ares_otel.control.config.service import ConfigService, Edited, HistoryPage, Settings

__all__ = ["Author", "Condition", "ConfigService", "Edited", "HistoryPage", "Settings"]
