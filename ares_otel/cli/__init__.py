"""The command line: the only place that puts all parts together."""
