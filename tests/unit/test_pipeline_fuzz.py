"""Whatever a configuration file holds, it is either taken or refused with places in the file; nothing else happens."""

from __future__ import annotations

from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ares_otel.cli.components import COMPONENTS
from ares_otel.pipeline.config import PipelineConfig
from ares_otel.pipeline.load import load_bytes
from ares_otel.pipeline.problem import ConfigError

DEFAULT = (Path(__file__).parents[2] / "collector" / "ares.yaml").read_text()
LINES = DEFAULT.splitlines(keepends=True)
NAMES = ["postgres", "otlp/x", "traces", "endpoint", "null", ".nan", "-0", "0x", "0o8", "1e999", "9" * 60]
SIGNS = [*"[]{}'@`#~", "- ", "? ", ": ", "\n", "  ", "\t", "|\n", "---\n", "...\n", "&a ", "*a", "<<: ", "!!binary "]
ODD = ["${env:", "}", "$$", "${X}", '"\\UFFFFFFFF"', '"\\uD800"', "%YAML 9.9\n", "\x00", "\ufeff", "\u2028"]
PIECES = st.sampled_from(NAMES + SIGNS + ODD)
LINE_BREAKS = "\n\r\x85\u2028\u2029"


def outcome(text: str) -> PipelineConfig | ConfigError:
    try:
        return load_bytes(text.encode("utf-8", "surrogatepass"), "x.yaml", COMPONENTS, {"X": "1"})
    except ConfigError as error:
        refused = error
    lines = 1 + sum(text.count(sign) for sign in LINE_BREAKS)
    assert refused.problems
    assert all(1 <= problem.place.line <= lines and problem.place.column >= 1 for problem in refused.problems)
    return refused


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_default_configuration_is_refused_cleanly_or_taken(data: st.DataObject) -> None:
    text = DEFAULT
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        gone = data.draw(st.integers(0, 20))
        text = text[:at] + data.draw(PIECES) + text[at + gone :]
    outcome(text)


@settings(max_examples=100, deadline=None)
@given(st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=200))
@example('a: "\\UFFFFFFFF"')
@example("a: " + "1" * 5000)
@example("[" * 100_000)
def test_any_text_is_refused_cleanly(text: str) -> None:
    assert isinstance(outcome(text), ConfigError)


@settings(max_examples=100, deadline=None)
@given(st.permutations(range(len(LINES))))
def test_shuffled_lines_are_refused_cleanly_or_taken(order: list[int]) -> None:
    outcome("".join(LINES[number] for number in order))
