"""Topics and patterns of topics: what is allowed, and which pattern wants which topic."""

from __future__ import annotations

import re
from functools import lru_cache

from ares_otel.model.bus import TOPIC_LIMIT

TAIL = "tail"
"""First word of the live tail's topics. They are many and fleeting, so a pattern that begins with a wildcard does not
mean them: whoever wants them says `tail.spans`, `tail.logs`, or `tail.*`."""

_WORD = "[A-Za-z0-9_-]+"
_TOPIC = re.compile(rf"{_WORD}(?:\.{_WORD})*", re.ASCII)
_PATTERN = re.compile(rf"(?:(?:{_WORD}|\*)\.)*(?:{_WORD}|\*\*?)", re.ASCII)


def check_topic(topic: str) -> str:
    """The topic. Raises ValueError, with a sentence, when it is none."""
    if not isinstance(topic, str) or len(topic) > TOPIC_LIMIT or not _TOPIC.fullmatch(topic):
        raise ValueError(
            f"A topic is at most {TOPIC_LIMIT} characters: words of letters, digits, _ and -, joined by dots, "
            "for example trade.executed"
        )
    return topic


def check_pattern(pattern: str) -> str:
    """The topic or pattern. Raises ValueError, with a sentence, when it is neither."""
    if not isinstance(pattern, str) or len(pattern) > TOPIC_LIMIT or not _PATTERN.fullmatch(pattern):
        raise ValueError(
            f"A pattern is a topic of at most {TOPIC_LIMIT} characters in which * stands for one word, and ** at the "
            "end for any number of words, for example trade.* or config.**"
        )
    return pattern


def matches(pattern: str, topic: str) -> bool:
    """Whether a valid pattern wants a valid topic."""
    if pattern == topic:
        return True
    if "*" not in pattern:
        return False
    if pattern[0] == "*" and is_tail(topic):
        return False
    return _compiled(pattern).fullmatch(topic) is not None


def is_tail(topic: str) -> bool:
    """Whether the topic, or pattern, belongs to the live tail."""
    return topic == TAIL or topic.startswith(f"{TAIL}.")


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    words = pattern.split(".")
    rest = words[-1] == "**"
    parts = [_WORD if word == "*" else re.escape(word) for word in (words[:-1] if rest else words)]
    text = r"\.".join(parts)
    if rest:
        text += rf"(?:\.{_WORD})*" if parts else rf"{_WORD}(?:\.{_WORD})*"
    return re.compile(text, re.ASCII)
