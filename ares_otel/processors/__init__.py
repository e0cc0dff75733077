"""Processors: what happens to a batch between receiver and exporter. One module a component; each has its `FACTORY`."""
