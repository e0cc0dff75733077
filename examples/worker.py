"""A queue and processes that work it off, as Celery and its like do it: forked before the work, and again and again.

    pip install ares-otel
    ares-otel up                                      # in another terminal
    python examples/worker.py                         # sends three jobs, works them off in two processes, ends

A message carries the context of the trace in its headers. The process that handles it goes on in the same trace
(`process mails`, a child of `send mails`). Whoever handles many messages at once belongs to no single trace: `settle`
has a trace of its own, and a link to each of them.

`configure()` is called once, before the fork: each child gets an instance id, threads and connections of its own, and
sends what it has when it ends.
"""

from __future__ import annotations

import logging
import multiprocessing
from typing import Any

from opentelemetry import metrics, propagate, trace
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

import ares_otel

QUEUE = "mails"
WORKERS = 2
Message = dict[str, Any]

log = logging.getLogger("mailer")
tracer = trace.get_tracer("mailer")
handled = metrics.get_meter("mailer").create_counter("messaging.client.consumed.messages", unit="{message}")


def attributes(operation: str, kind: str) -> dict[str, str]:
    """https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/"""
    return {
        "messaging.system": "example",
        "messaging.destination.name": QUEUE,
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
    }


def send(queue: Any, to: str) -> None:
    with tracer.start_as_current_span(f"send {QUEUE}", kind=SpanKind.PRODUCER, attributes=attributes("send", "send")):
        headers: dict[str, str] = {}
        propagate.inject(headers)
        queue.put({"headers": headers, "to": to})


def mail(message: Message) -> None:
    if "@" not in message["to"]:
        raise ValueError(f"{message['to']!r} is no address")
    log.info("mailed %s", message["to"])


def process(message: Message) -> None:
    """Goes on in the trace of whoever sent the message."""
    parent = propagate.extract(message["headers"])
    about = attributes("process", "process")
    with tracer.start_as_current_span(f"process {QUEUE}", parent, kind=SpanKind.CONSUMER, attributes=about) as span:
        try:
            mail(message)
        except ValueError as error:
            log.exception("a message could not be handled")  # in the span: the record belongs to it
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, str(error)))
        else:
            handled.add(1, about)


def settle(messages: list[Message]) -> None:
    """One look at many messages: a trace of its own, with a link to where each of them was sent."""
    senders = [trace.get_current_span(propagate.extract(message["headers"])) for message in messages]
    links = [Link(sender.get_span_context()) for sender in senders]
    about = attributes("settle", "settle") | {"messaging.batch.message_count": len(messages)}
    with tracer.start_as_current_span(f"settle {QUEUE}", kind=SpanKind.CLIENT, attributes=about, links=links):
        log.info("settled %d messages", len(messages))


def work(queue: Any, done: Any) -> None:
    """What a child does until it is told to stop."""
    while (message := queue.get()) is not None:
        process(message)
        done.put(message)


def main() -> None:
    ares_otel.configure("mailer")
    forking = multiprocessing.get_context("fork")
    queue, done = forking.SimpleQueue(), forking.SimpleQueue()
    workers = [forking.Process(target=work, args=(queue, done)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    addresses = ("ada@example.com", "grace@example.com", "nowhere")
    for address in addresses:
        send(queue, address)
    settle([done.get() for _ in addresses])
    for _ in workers:
        queue.put(None)
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main()
