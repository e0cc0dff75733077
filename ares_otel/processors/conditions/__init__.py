"""Conditions on telemetry: the part of the Collector's OTTL that the `filter` processor understands."""
