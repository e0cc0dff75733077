"""How the writer begins a transaction: with bounded waits, whatever locks others hold."""

BEGIN = "BEGIN; SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '25s'"
"""One message to the server. SET LOCAL, because settings of a session do not survive a pooler."""
