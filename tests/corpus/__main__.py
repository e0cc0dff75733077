"""`python -m tests.corpus --write`: the requests that are missing, and what is expected of all."""

from __future__ import annotations

import argparse
import json

from ares_otel.storage.rows import reference
from tests.corpus.builders import BUILDERS
from tests.corpus.expected import EXPECTED, FOLDER, fallback, names, summary
from tests.support.encoders import NATIVE_ENCODER, WHY_MISSING


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the golden corpus anew.")
    parser.add_argument("--write", action="store_true", required=True)
    parser.parse_args()
    if NATIVE_ENCODER is None:
        raise SystemExit(f"{WHY_MISSING} The corpus says which requests it takes: run `make native` first.")
    for name, build in BUILDERS.items():
        path = FOLDER / f"{name}.bin"
        if not path.exists():
            path.write_bytes(build())
    expected = {
        name: {**summary(reference.encode_batch, name), "fallback": fallback(NATIVE_ENCODER, name)} for name in names()
    }
    EXPECTED.write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


main()
