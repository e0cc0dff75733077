"""How much memory a process's settings take: `python benchmarks/config_cache.py [KEYS]`, from the project's root.

Starts a PostgreSQL of its own, fills it, and follows it with a `ConfigManager`, as a process does.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from pathlib import Path

import asyncpg

sys.path.insert(0, str(Path(__file__).parents[1]))

from ares_otel.control.config_manager import ConfigManager
from tests.support.postgres import copied_database, shared_server

FILL = """
INSERT INTO service_config (service_name, config_key, config_value, description, updated_by)
SELECT $1, 'component' || (n % 20) || '.setting' || n,
       CASE n % 4 WHEN 0 THEN to_jsonb(n) WHEN 1 THEN to_jsonb(n % 8 = 1) WHEN 2 THEN to_jsonb('value-' || n)
       ELSE jsonb_build_object('enabled', true, 'ratio', n / 7.0) END,
       'What setting ' || n || ' does', 'benchmark'
FROM generate_series(1, $2::int) AS n
"""


async def measure(url: str, keys: int) -> None:
    connection = await asyncpg.connect(url)
    for count in (0, 50, keys):
        service = f"service-{count}"
        await connection.execute(FILL, service, count)
        # The first manager warms up what is made once: code, codecs, connection.
        for warm in (True, False):
            gc.collect()
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            manager = ConfigManager(url, services=[service])
            await manager.start()
            gc.collect()
            traced = tracemalloc.get_traced_memory()[0] - before
            tracemalloc.stop()
            assert len(manager.keys()) == count
            cache = deep_size(manager._entries)
            await manager.stop()
            if not warm:
                each = f" ({cache / count:.0f} bytes a key)" if count else ""
                print(
                    f"{count:6d} keys: cache {cache / 1024:.1f} KiB{each}, "
                    f"manager with its connection {traced / 1024:.1f} KiB"
                )
    await connection.close()


def deep_size(value: object, seen: set[int] | None = None) -> int:
    """Bytes of a value and all that it holds, each object once."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return 0
    seen.add(id(value))
    size = sys.getsizeof(value)
    if isinstance(value, dict):
        return size + sum(deep_size(key, seen) + deep_size(item, seen) for key, item in value.items())
    if isinstance(value, list | tuple):
        return size + sum(deep_size(item, seen) for item in value)
    return size


if __name__ == "__main__":
    with shared_server() as server, copied_database(server) as database:
        asyncio.run(measure(database, int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
