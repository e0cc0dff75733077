"""Pinned traces survive retention: their rows are copied before their partitions leave (docs/pinned-traces.md)."""
