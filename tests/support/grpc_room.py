"""A receiver that is offered a quarter of a gigabyte at once and may have 32 MiB, alone in its process:
`python -m tests.support.grpc_room`. Prints what the senders were answered, and how many bytes more than before the
process had at most. In the process of the tests the memory would be that of a thousand others, too."""

from __future__ import annotations

import asyncio
import json
import sys

import psutil

from tests.support.otlp_receiver import export, running

MIB = 1024 * 1024
REFUSED = {"receiver": "otlp", "transport": "grpc", "signal": "traces", "reason": "overloaded"}


async def main() -> None:
    process = psutil.Process()
    async with running(admission_bytes=32 * MIB) as ares:
        await export(ares.grpc_target, b"")  # what the first request brings with it is no message
        ares.recording.gate = asyncio.Event()
        before = peak = process.memory_info().rss
        arguments = ("-m", "tests.support.grpc_flood", ares.grpc_target, "16", "4", str(4 * MIB - 1000))
        flood = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
        said = asyncio.create_task(flood.communicate())
        while not said.done():
            await asyncio.wait({said}, timeout=0.01)
            peak = max(peak, process.memory_info().rss)
            if ares.count("ares_otel_receiver_refused_requests", **REFUSED) >= 60:
                ares.recording.gate.set()
        print(json.dumps({"codes": json.loads((await said)[0]), "more": peak - before}))


if __name__ == "__main__":
    asyncio.run(main())
