"""Totals of metrics that come as deltas: what a cumulative counter or histogram would say, kept in the database."""
