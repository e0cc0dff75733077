"""Frameworks and libraries are instrumented when they are asked for, and once."""

from __future__ import annotations

import uuid
from textwrap import dedent

import pytest

from tests.support.forked_application import run_application
from tests.support.otlp_sink import Sink

APPLICATION = """
import asyncio, os, sys
import ares_otel, httpx
from fastapi import FastAPI
from opentelemetry import trace

def configure(**named):
    return ares_otel.configure(os.environ["NAME"], remote_config=False, registry=False, **named)

app = FastAPI()

@app.get("/orders/{number}")
async def order(number: int) -> int:
    with trace.get_tracer("app").start_as_current_span("look up"):
        return number

@app.get("/healthz")
async def healthz() -> str:
    return "ok"

def get(*paths):
    async def all():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
            for path in paths:
                (await client.get(path)).raise_for_status()
    asyncio.run(all())

"""


@pytest.fixture
def name() -> str:
    return f"app-{uuid.uuid4().hex[:12]}"


def run(body: str, name: str, sink: Sink, **environment: str) -> str:
    done = run_application(APPLICATION + dedent(body), sink.environment(NAME=name, **environment))
    assert done.returncode == 0, done.stderr
    return done.stderr


def names(sink: Sink, name: str) -> list[str]:
    return sorted(one.item.name for one in sink.spans(name))


def test_a_request_is_one_span_with_its_route_and_has_metrics(name: str, sink: Sink) -> None:
    run("configure(app=app); get('/orders/7')", name, sink)

    assert names(sink, name) == ["GET /orders/{number}", "look up"]
    (server,) = [one for one in sink.spans(name) if one.item.name.startswith("GET")]
    (inner,) = [one for one in sink.spans(name) if one.item.name == "look up"]
    assert inner.item.parent_span_id == server.item.span_id
    assert "http.server.duration" in {one.item.name for one in sink.metrics(name)}


def test_an_application_that_is_given_twice_is_instrumented_once(name: str, sink: Sink) -> None:
    body = """
        import logging
        logging.basicConfig(level="INFO")
        configure(app=app)
        configure(app=app)
        get("/orders/7")
    """
    printed = run(body, name, sink)

    assert names(sink, name) == ["GET /orders/{number}", "look up"]
    assert printed.count("instrumented already") == 1


@pytest.mark.parametrize("variable", ["OTEL_PYTHON_EXCLUDED_URLS", "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS"])
def test_health_checks_are_left_out_by_the_standard_variable(variable: str, name: str, sink: Sink) -> None:
    run("configure(app=app); get('/healthz', '/orders/7')", name, sink, **{variable: "healthz,metrics"})

    assert names(sink, name) == ["GET /orders/{number}", "look up"]


def test_a_flask_application_is_taken_too(name: str, sink: Sink) -> None:
    body = """
        from flask import Flask
        shop = Flask("shop")
        shop.add_url_rule("/orders/<int:number>", view_func=lambda number: str(number), endpoint="order")
        configure(app=shop)
        assert shop.test_client().get("/orders/7").text == "7"
    """
    run(body, name, sink)

    assert names(sink, name) == ["GET /orders/<int:number>"]


def test_a_framework_without_its_instrumentation_runs_and_is_said(name: str, sink: Sink) -> None:
    body = """
        from starlette.applications import Starlette
        sys.modules["opentelemetry.instrumentation.starlette"] = None  # not installed
        configure(app=Starlette())
    """
    assert "pip install opentelemetry-instrumentation-starlette" in run(body, name, sink)


def test_a_library_that_is_asked_for_is_instrumented_once_and_others_are_not(name: str, sink: Sink) -> None:
    body = f"""
        configure()
        httpx.get("{sink.http}/before")
        configure(instrument=["httpx"])
        configure(instrument=["httpx", "asyncpg"])
        httpx.get("{sink.http}/once")
    """
    run(body, name, sink)

    assert [one.attributes["http.url"] for one in sink.spans(name)] == [f"{sink.http}/once"]


def test_an_instrumentation_that_is_not_installed_is_said_with_what_to_install(name: str, sink: Sink) -> None:
    printed = run(f"configure(instrument=['celery', 'httpx']); httpx.get('{sink.http}')", name, sink)

    assert "pip install opentelemetry-instrumentation-celery" in printed
    assert names(sink, name) == ["GET"], "the others are switched on"


@pytest.mark.parametrize("said", ["httpx, redis", "*"])
def test_what_the_standard_variable_switches_off_stays_off(said: str, name: str, sink: Sink) -> None:
    body = f"configure(instrument=['httpx']); httpx.get('{sink.http}')"

    run(body, name, sink, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=said)

    assert names(sink, name) == []


def test_a_library_that_is_not_installed_is_said_with_what_to_install(name: str, sink: Sink) -> None:
    body = """
        from importlib import metadata
        distribution = metadata.distribution
        def without_redis(name):
            if name == "redis":
                raise metadata.PackageNotFoundError(name)
            return distribution(name)
        import opentelemetry.instrumentation.dependencies as dependencies
        dependencies.version = lambda name: without_redis(name).version
        configure(instrument=["redis"])
    """
    assert "redis is not instrumented" in run(body, name, sink)


def test_django_without_settings_keeps_none_and_that_is_said(name: str, sink: Sink) -> None:
    body = """
        configure(instrument=("django",))
        from django.conf import settings
        assert not settings.configured
    """
    assert "set DJANGO_SETTINGS_MODULE first" in run(body, name, sink)
