"""The path that an answer gives with a fence or a block."""

import re

LABEL = re.compile(
    r"[\s>#*`_/]*(?:\d+[.)]\s*)?"
    r"(?:(?:new |full |updated |modified )?(?:file(?:name)?|path)\s*:?\s*)?"
    r"[*`\"'(\[]*(?P<path>[^\s*`\"'()\[\]]+?)[*`\"'):\]]*"
    r"(?:\s*\((?:new|new file|full file)\))?[*:\s]*",
    re.IGNORECASE,
)
"""A line that is a path and its decoration, and nothing else."""
PATH = re.compile(
    r"[^\s*`\"'()\[\]<>,;:|#=]*[\w-]\.[A-Za-z]\w{0,7}\b(?![\w/(=.])|[^\s*`\"'()\[\]<>,;:|#=]+/[\w.-]+"
)
SUFFIX = re.compile(r"/|\.[A-Za-z]\w{0,7}$")
INFO = re.compile(
    r"[ \t]*[\w+#-]*[ \t:]*(?:(?:title|file|filename|path)=)?[\"']?(?P<path>[^\s\"']*)[\"']?.*"
)
MOST_CHARACTERS = 300


def label_of(line: str) -> str | None:
    """The path, if a line is one but for decoration; None if it says more, or has no path."""
    match = LABEL.fullmatch(line) if len(line) <= MOST_CHARACTERS else None
    path = match["path"] if match else ""
    return path if SUFFIX.search(path) and "://" not in path else None


def path_in(line: str) -> str | None:
    """The path that a line is or names; None if it names none, or several."""
    whole = label_of(line)
    if whole is not None or len(line) > MOST_CHARACTERS:
        return whole
    named = {path.rstrip(".") for path in PATH.findall(line) if "://" not in path}
    return named.pop() if len(named) == 1 else None


def fence_label(info: str) -> str | None:
    """The path after the language of a fence, as in ```python train.py or ```train.py."""
    words = info.strip()
    if len(words) > MOST_CHARACTERS:
        return None
    alone = words if SUFFIX.search(words) and " " not in words and ":" not in words else ""
    match = INFO.fullmatch(words)
    path = alone if alone and "=" not in alone else (match["path"] if match else "")
    return path if SUFFIX.search(path) else None
