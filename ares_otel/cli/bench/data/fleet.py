"""Who sends: 48 services of a shop, a few of them popular, that call one another."""

from __future__ import annotations

import random
from dataclasses import dataclass

from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from ares_otel.cli.bench.data.values import key_values

# fmt: off
_NAMES = (
    "storefront", "checkout", "cart", "catalogue", "search", "orders", "payments", "inventory",
    "pricing", "profile", "sessions", "recommendations", "reviews", "shipping", "notifications", "media",
    "promotions", "tax", "addresses", "wishlist", "invoices", "refunds", "fraud", "ledger",
    "loyalty", "giftcards", "returns", "suppliers", "warehouse", "picking", "packing", "carriers",
    "tracking", "customs", "mail", "sms", "push", "support", "chat", "feedback",
    "analytics", "reporting", "audit", "exports", "imports", "scheduler", "backoffice", "partners",
)
# fmt: on
_LANGUAGES = ("java", "go", "python", "nodejs", "dotnet")
_DATABASES = ("postgresql", "postgresql", "postgresql", "mysql", "redis", "mongodb")
_VERBS = ("", "/{id}", "/{id}/items", "/{id}/history", "/search", "/batch", "/{id}/status", "/count", "/{id}/notes")
_METHODS = ("GET", "GET", "GET", "POST", "PUT", "DELETE")


@dataclass(frozen=True, slots=True)
class Service:
    """One service."""

    index: int
    name: str
    language: str
    version: str
    instances: int
    database: str
    routes: tuple[tuple[str, str], ...]
    """Method and route, the most popular first."""
    tables: tuple[str, ...]
    calls: tuple[int, ...]
    """Indexes of the services that it asks, the most popular first."""
    listener: int
    """Index of the service that takes its messages."""

    def resource(self, instance: int) -> Resource:
        """The resource of one of its instances, as an SDK in Kubernetes describes it."""
        pod = f"{self.name}-7d4b9c6f5-{instance:05d}"
        return Resource(
            attributes=key_values(
                {
                    "service.name": self.name,
                    "service.namespace": "shop",
                    "service.version": self.version,
                    "service.instance.id": pod,
                    "deployment.environment.name": "production",
                    "telemetry.sdk.language": self.language,
                    "telemetry.sdk.name": "opentelemetry",
                    "telemetry.sdk.version": "1.45.2",
                    "host.name": f"node-{(self.index + instance) % 12}",
                    "k8s.namespace.name": "shop",
                    "k8s.deployment.name": self.name,
                    "k8s.pod.name": pod,
                    "cloud.region": "eu-central-1",
                    "process.pid": 1 + instance,
                }
            )
        )

    def scope(self, library: str) -> str:
        """Name of an instrumentation scope in its language."""
        return f"io.opentelemetry.{library}" if self.language == "java" else f"opentelemetry.{self.language}.{library}"


def weights(count: int) -> list[float]:
    """Popularity by rank, as Zipf found it: the second half as often as the first, the third a third."""
    return [1 / rank for rank in range(1, count + 1)]


def make_fleet(seed: int) -> list[Service]:
    """The services, the most popular first; the same for the same seed."""
    source = random.Random(f"fleet {seed}")
    count = len(_NAMES)
    return [
        Service(
            index=index,
            name=name,
            language=source.choice(_LANGUAGES),
            version=f"{source.randrange(1, 9)}.{source.randrange(20)}.{source.randrange(10)}",
            instances=max(1, 6 - index // 6),
            database=source.choice(_DATABASES),
            routes=tuple((source.choice(_METHODS), f"/api/{name}{verb}") for verb in _VERBS),
            tables=tuple(f"{name}{suffix}" for suffix in ("", "_items", "_events", "_by_customer")),
            calls=_others(source, index, count),
            listener=source.randrange(count // 2, count),
        )
        for index, name in enumerate(_NAMES)
    ]


def _others(source: random.Random, index: int, count: int) -> tuple[int, ...]:
    """Up to five services behind this one, mostly popular ones; nobody calls forwards and backwards for ever."""
    behind = range(index + 1, count)
    if not behind:
        return ()
    chosen = source.choices(behind, weights(len(behind)), k=5)
    return tuple(dict.fromkeys(chosen))
