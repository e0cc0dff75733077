"""Which topics and patterns there are, and which pattern wants which topic."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ares_otel.eventbus import wire
from ares_otel.eventbus.connection import reason, redis_url, shown
from ares_otel.eventbus.topics import check_pattern, check_topic, matches

WORDS = st.text("abcXYZ019_-", min_size=1, max_size=8)
TOPICS = st.lists(WORDS, min_size=1, max_size=5).map(".".join)


@pytest.mark.parametrize("topic", ["trade", "trade.executed", "a.b.c.d", "A_1.b-2", "x" * 200])
def test_words_joined_by_dots_are_a_topic(topic: str) -> None:
    assert check_topic(topic) == topic
    assert check_pattern(topic) == topic


@pytest.mark.parametrize(
    "topic", ["", ".", "a.", ".a", "a..b", "a b", "a\n", "ä", "a.*", "*", "a/b", "x" * 201, "a\0", "٣", None, 5]
)
def test_anything_else_is_not(topic: str) -> None:
    with pytest.raises(ValueError, match="A topic is at most 200 characters"):
        check_topic(topic)


@pytest.mark.parametrize("pattern", ["*", "**", "a.*", "*.a", "a.**", "a.*.b", "*.*"])
def test_stars_make_a_pattern(pattern: str) -> None:
    assert check_pattern(pattern) == pattern


@pytest.mark.parametrize("pattern", ["", "a*", "**.a", "a.**.b", "***", "a.*b", "*\n", ".*", "[a]", "a.?"])
def test_a_star_within_a_word_and_two_before_the_end_are_no_pattern(pattern: str) -> None:
    with pytest.raises(ValueError, match="A pattern is a topic"):
        check_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "topic", "wanted"),
    [
        ("trade.executed", "trade.executed", True),
        ("trade.executed", "trade.executed.late", False),
        ("trade.*", "trade.executed", True),
        ("trade.*", "trade", False),
        ("trade.*", "trade.a.b", False),
        ("trade.**", "trade.a.b", True),
        ("trade.**", "trade", True),
        ("trade.**", "trader.a", False),
        ("*.failed", "job.failed", True),
        ("*", "job", True),
        ("*", "job.failed", False),
        ("**", "job.failed.late", True),
        ("a.*.c", "a.b.c", True),
        ("**", "tail.spans", False),
        ("*.spans", "tail.spans", False),
        ("tail.*", "tail.spans", True),
        ("tail.**", "tail.logs", True),
        ("**", "tails.spans", True),
    ],
)
def test_a_pattern_wants_topics(pattern: str, topic: str, wanted: bool) -> None:
    assert matches(pattern, topic) is wanted


@settings(max_examples=100)
@given(TOPICS)
def test_a_topic_is_wanted_by_itself_and_by_its_parents_pattern(topic: str) -> None:
    assert matches(check_pattern(topic), check_topic(topic))
    words = topic.split(".")
    assert matches(check_pattern(".".join([*words[:-1], "**"]) if len(words) > 1 else "**"), topic)
    assert matches(".".join([words[0], *["*"] * (len(words) - 1)]), topic)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("localhost:6379", "redis://localhost:6379"),
        (" redis ", "redis://redis"),
        ("redis://u:p@h:1/2", "redis://u:p@h:1/2"),
        ("rediss://h", "rediss://h"),
        ("[::1]:6379", "redis://[::1]:6379"),
    ],
)
def test_a_redis_url_is_written_in_several_ways(text: str, url: str) -> None:
    assert redis_url(text) == url
    assert "p@" not in shown(redis_url(text))


@pytest.mark.parametrize(
    "text", ["", "http://s3cret@h", "redis://", "h:s3cret", "redis://h/s3cret", "redis://h?s3cret=1", "unix:///s3cret"]
)
def test_what_is_no_redis_url_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="The Redis URL must be") as refused:
        redis_url(text)
    assert "s3cret" not in str(refused.value)


def test_the_reason_for_a_failure_holds_no_credentials() -> None:
    text = reason(
        ConnectionError("no way to redis://us%40er:s3%2Fcret@h, us@er, s3/cret."), "redis://us%40er:s3%2Fcret@h"
    )
    assert "cret" not in text
    assert "us@er" not in text


@settings(max_examples=200)
@given(
    st.dictionaries(
        st.sampled_from([b"id", b"topic", b"data", b"at", b"source", b"process", b"done", b"x"]),
        st.binary(max_size=40)
        | st.sampled_from(
            [b"a.b", b"{}", b"[[]]", b"[1]", b"2026-01-31T12:00:00+00:00", b"9" * 50, b"0001-01-01T00:00:00+23:59"]
        ),
    )
)
def test_whatever_stands_in_a_stream_is_an_event_or_nothing(fields: dict[bytes, bytes]) -> None:
    received = wire.decode(fields)
    assert received is None or check_topic(received.event.topic)
