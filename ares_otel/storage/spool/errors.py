"""Why the spool takes nothing now. Both are answers for the sender: nothing of its request was kept."""

from __future__ import annotations

from ares_otel.model.errors import Overloaded


class SpoolFull(Overloaded):
    """The spool is full and the database cannot store now; send the data again later."""


class SpoolBroken(Overloaded):
    """The disk of the spool refuses to write and the database cannot store now; send the data again later."""
