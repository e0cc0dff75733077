"""Subscribers that come with Ares."""

from ares_otel.eventbus.subscribers.analytics import AnalyticsSubscriber
from ares_otel.eventbus.subscribers.audit import TradeAuditSubscriber

__all__ = ["AnalyticsSubscriber", "TradeAuditSubscriber"]
