"""Jaeger's doors, with one Ares for all of them."""
