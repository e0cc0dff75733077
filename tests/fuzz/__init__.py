"""Damaged requests, made with knowledge of their structure, through both row encoders: `python -m tests.fuzz`."""
