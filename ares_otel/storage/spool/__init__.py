"""The spool: requests that the database cannot take now, safe on disk until it can."""
