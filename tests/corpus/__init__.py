"""The golden corpus: small requests, one oddity or family each, and what both row encoders make of them.

`NAME.bin` is a request; a name begins with its signal. `expected.json` says what becomes of each, with digests of the
rows and definitions, and whether the native encoder takes it (`fallback` empty) or why not. `python -m tests.corpus
--write` makes the requests of `builders.py` that are missing and writes `expected.json` anew.
"""
