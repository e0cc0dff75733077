"""Pictures of traces as `ares-otel trace` draws them, each in a file that is named as a sentence.

`python -m tests.support.trace_pictures` writes the files, and the one in docs/trace-terminal.md, anew; the diff
then says what changed. A test compares them, and fails for a file that no picture is of.
"""
