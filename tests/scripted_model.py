"""A language model of a few rules, for whole campaigns on the small environment.

It reads the prompts that Varve writes and answers in the forms that they ask for; what it says
depends on the call's idempotency key alone, so that a repeated call is answered alike. A share of
the requests goes wrong, in a way that the key and the number of the try decide.
"""

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable

from tests.model_server import Behaviour, Fault, Request

WANTED = re.compile(r"Give exactly (\d+) idea")
VALUE = re.compile(r"RIDGE in train\.py to ([\d.]+)")
BLOCK = """The penalty changes, nothing else.

train.py
<<<<<<< SEARCH
RIDGE = {old}  # penalty on the squared weights
=======
RIDGE = {new}  # penalty on the squared weights
>>>>>>> REPLACE
"""
CLIMBING = """diff --git a/../train.py b/../train.py
--- a/../train.py
+++ b/../train.py
@@ -1 +1 @@
-RIDGE = 30.0
+RIDGE = 1.0
"""
FAULTS: tuple[Behaviour, ...] = (
    Behaviour(status=429, headers={"retry-after": "0.05"}),
    Behaviour(status=529),
    Behaviour(status=500),
    Behaviour(text="x" * 400, fault=Fault.CUT_MIDDLE),
    Behaviour(fault=Fault.BAD_JSON),
    Behaviour(fault=Fault.BAD_UTF8),
    Behaviour(finish="refusal", text=""),
    Behaviour(finish="length", text=BLOCK[:60]),
    Behaviour(text=""),
    Behaviour(text=CLIMBING),
    Behaviour(text="y" * (2 << 20), part_characters=1 << 16),
)
"""Transport and status faults are tried again; the others are answers that say nothing usable."""
SILENCE = Behaviour(fault=Fault.SILENCE, silence_seconds=60.0)


def draw(*parts: object) -> float:
    """A number in [0, 1) that the parts decide."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


class ScriptedModel:
    """What `ModelServer` asks."""

    def __init__(
        self,
        *,
        faulty: float = 0.0,
        bad_patches: float = 0.0,
        silent: float = 0.0,
        delay_seconds: float = 0.0,
        text: Callable[[str], str] = str,
    ) -> None:
        """How it misbehaves.

        Args:
            faulty: share of requests that go wrong.
            bad_patches: share of first patches that do not fit.
            silent: share of requests after which nothing comes for a minute.
            delay_seconds: before each answer.
            text: changes the answers of the implementer.
        """
        self.faulty, self.bad_patches, self.silent = faulty, bad_patches, silent
        self.delay_seconds, self.text = delay_seconds, text
        self.faults = 0
        self._tries: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Behaviour:
        """What is done with a request."""
        with self._lock:
            self._tries[request.key] += 1
            number = self._tries[request.key]
        if draw("silent", request.key, number) < self.silent:
            self.faults += 1
            return SILENCE
        if draw("fault", request.key, number) < self.faulty:
            self.faults += 1
            return FAULTS[int(draw("which", request.key, number) * len(FAULTS))]
        asked = request.messages[0][1]
        wanted = WANTED.search(asked)
        text = _ideas(request.key, int(wanted[1])) if wanted else self._patch(request, asked)
        return Behaviour(text=text, thinking="I think about it.", delay_seconds=self.delay_seconds)

    def _patch(self, request: Request, asked: str) -> str:
        value = VALUE.findall(asked)[-1]
        first = len(request.messages) == 1
        bad = first and draw("bad", request.key) < self.bad_patches
        return self.text(BLOCK.format(old="31.0" if bad else "30.0", new=value))


def _ideas(key: str, count: int) -> str:
    """As many ideas, each with a value of its own."""
    values = [round(1 + 99 * draw("value", key, number), 6) for number in range(count)]
    ideas = [
        {
            "title": f"Ridge penalty {value}",
            "text": f"Set RIDGE in train.py to {value}, so that the weights are held another way.",
            "parents": [],
        }
        for value in values
    ]
    return json.dumps({"ideas": ideas})
