"""Stored metrics as Prometheus sees them: which series selectors choose, and their samples as columns.

Remote read, federation and PromQL stand on `select.select`. `index` finds series, `columns` reads samples.
"""
