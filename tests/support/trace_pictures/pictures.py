"""The traces of the pictures."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from ares_otel.query.traces import Trace
from tests.support.reference import ROOT
from tests.support.trace_shapes import event, log, picture, span, trace_of

FOLDER = Path(__file__).parent
PAGE = ROOT / "docs" / "trace-terminal.md"
_BLOCK = re.compile(r"(<!-- picture -->\n```text\n)(?:(?!```).)*(```\n)", re.DOTALL)


def rewritten(page: str) -> str:
    """The page with the picture that it shows."""
    return _BLOCK.sub(lambda found: found[1] + picture(failed_checkout()) + found[2], page)


def failed_checkout() -> Trace:
    """What somebody is called for at night."""
    return trace_of(
        [
            span("POST /checkout", 0, 1240, service="storefront", kind="server", status="error", id="checkout"),
            span("GET /carts/{id}", 12, 131, "checkout", service="carts", kind="server", id="cart"),
            span("SELECT carts", 20, 34, "cart", service="carts", kind="client", id="select"),
            span("GET /prices", 30, 118, "checkout", service="prices", kind="server", id="prices"),
            span(
                "POST /charges",
                140,
                1198,
                "checkout",
                service="payments",
                kind="server",
                id="charge",
                status="error",
                status_message="bank answered 504: upstream request timeout",
                events=[
                    event("payment.attempt", 150, attempt=1),
                    event("payment.attempt", 660, attempt=2),
                ],
            ),
            span("POST /authorize", 152, 652, "charge", service="payments", kind="client", status="error", id="first"),
            span(
                "POST /authorize",
                662,
                1162,
                "charge",
                service="payments",
                kind="client",
                id="second",
                status="error",
                events=[event("exception", 1162, **{"exception.type": "BankTimeout", "exception.message": "504"})],
            ),
            span("send receipt", 1210, 1600, "checkout", service="mail", kind="consumer", id="mail"),
        ],
        [
            log("checkout of 3 items", 4, "checkout", service="storefront"),
            log("bank is slow, attempt 1 of 2 ended after 500 ms", 655, "charge", level="WARN", service="payments"),
            log(
                "card cannot be charged: the bank gave no answer in time",
                1190,
                "charge",
                level="ERROR",
                service="payments",
            ),
        ],
    )


def _many() -> Trace:
    spans = [span("GET /report", 0, 1000, id="root", service="reports")]
    spans += [
        span("SELECT orders", 10 + number * 2, 11.5 + number * 2, "root", service="reports", id=f"q{number}")
        for number in range(480)
    ]
    spans += [
        span("SELECT totals", 971 + number, 971.5 + number, "root", service="reports", id=f"t{number}", status="error")
        for number in range(7)
    ]
    spans += [
        span("parse", 10.1, 10.9, "q0", service="reports", id="p0"),
        span("parse", 20.1, 20.9, "q5", service="reports", id="p5"),
    ]
    return trace_of(spans, [log("slow row", 21, "q5", level="WARN", service="reports")])


def _odd() -> Trace:
    return trace_of(
        [
            span("root", 0, 100),
            span("orphan", 20, 60, "gone", service="elsewhere"),
            span("itself", 30, 50, "itself"),
            span("one of a circle", 40, 60, "circle2", id="circle1"),
            span("other of a circle", 45, 55, "circle1", id="circle2"),
            span("twin", 50, 70, "root", id="twin"),
            span("twin", 55, 75, "root", id="twin", service="elsewhere"),
            span("child of the second twin", 56, 60, "twin", id="kid", service="elsewhere"),
            span("clock behind", -40, 30, "root"),
        ],
        [
            log("of nobody", 10, None),
            log("of a span that is not here", 50, "absent", level="ERROR", service="elsewhere"),
        ],
        truncated=True,
        searched_from=datetime(2026, 1, 30, tzinfo=UTC),
    )


def _hostile() -> Trace:
    evil = "\x1b[2J\x9b31m\u202eevil\r\n\x07[bold]name[/bold]\\"
    return trace_of(
        [
            span(
                evil,
                0,
                10,
                id="root",
                service=evil,
                status="error",
                status_message=evil,
                attributes={evil: evil},
                events=[event(evil, 1, **{evil: evil})],
                links=[{"trace_id": evil, "span_id": evil, "attributes": {evil: evil}}],
            ),
            span("名前の長い操作がここにあります、とても長い名前です", 1, 9, "root", service="サービス", id="wide"),
        ],
        [log(evil, 2, "root", service=evil, level="ERROR")],
    )


def _deep() -> Trace:
    spans = [span("step 0", 0, 100, id="0")]
    spans += [span(f"step {number}", number, 100 - number, str(number - 1), id=str(number)) for number in range(1, 30)]
    return trace_of(spans, [log("at the bottom", 30, "29")])


def _talkative() -> Trace:
    return trace_of(
        [span("work", 0, 1000)],
        [
            *(log(f"row {number} done", number * 10, "work") for number in range(60)),
            log(
                "disk is full: " + "the volume has no space left for another segment; " * 6, 500, "work", level="ERROR"
            ),
        ],
    )


def _linked() -> Trace:
    return trace_of(
        [
            span(
                "process batch",
                0,
                20,
                kind="consumer",
                attributes={"messaging.batch.message_count": 2, "messaging.system": "kafka", "retry": [1, 2.5, None]},
                links=[
                    {"trace_id": "aa" * 16, "span_id": "bb" * 8, "attributes": {"messaging.message.id": "m-1"}},
                    {"trace_id": "5b8aa5a2d2c872e8321cf37308d69df2", "span_id": "cc" * 8, "attributes": {}},
                ],
            )
        ]
    )


def _skewed() -> Trace:
    return trace_of(
        [
            span("root", 0, 100),
            span("on another machine", -40, 20, "root", id="far", service="elsewhere", events=[event("seen", -30)]),
            span("inside it", -30, -10, "far", service="elsewhere"),
            span("after it", 40, 60, "root"),
        ],
        [log("working", -20, "far", service="elsewhere")],
    )


PICTURES: dict[str, Callable[[], str]] = {
    "a failed checkout with its logs and its critical path": lambda: picture(failed_checkout()),
    "the same on a wide terminal has self times": lambda: picture(failed_checkout(), width=140),
    "the same without log records": lambda: picture(failed_checkout(), logs=False),
    "the same on a terminal that knows ASCII only": lambda: picture(failed_checkout(), encoding="ascii"),
    "the same on a terminal that is far too narrow": lambda: picture(failed_checkout(), width=20),
    "many siblings that are alike are told together": lambda: picture(_many()),
    "odd parents, clocks and truncation are told": lambda: picture(_odd()),
    "a clock that is off is corrected, and that is told": lambda: picture(_skewed()),
    "raw times are those of the clocks": lambda: picture(_skewed(), raw=True),
    "hostile text steers nothing": lambda: picture(_hostile(), attributes=True),
    "hostile text steers nothing in ASCII": lambda: picture(_hostile(), encoding="latin-1", attributes=True),
    "a deep chain stays in its column": lambda: picture(_deep()),
    "of many log records the worst are shown": lambda: picture(_talkative()),
    "links and attributes": lambda: picture(_linked(), attributes=True),
    "only log records": partial(picture, trace_of([], [log("alone", 3, None), log("and wide", 9, "absent")])),
}
