"""How much a row or a message repeats of what somebody else wrote."""

REASON_CHARACTERS = 8_000
"""Most of a reason, a verdict or a repair in a row, and of each part of a message."""
MARK = " [... cut: {count} characters in all ...] "


def bounded(text: str) -> str:
    """The text, or its beginning and its end with a mark between that says how long it was."""
    if len(text) <= REASON_CHARACTERS:
        return text
    mark = MARK.format(count=len(text))
    tail = REASON_CHARACTERS // 4
    return text[: REASON_CHARACTERS - tail - len(mark)] + mark + text[-tail:]
