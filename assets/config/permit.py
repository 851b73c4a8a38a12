"""Permission for a sandbox level below the campaign's own, asked for in the UI.

`varve ui` draws a token at each start and prints it on its terminal. Whoever launches a run with
the tag `varve/sandbox` puts it into a second tag. The web server takes it out again before
anything is stored, and leaves a permit in its place: a random number and a code over it and the
level, made with the token. A permit can be read in the run history by everybody who sees that, and
is of no use: the web server takes the token alone, and a run's worker refuses a permit that its run
has from an earlier one.
"""

import hashlib
import hmac
import os
import secrets

TOKEN_TAG = "varve/sandbox-token"
"""Tag of a Dagster run: as it is launched the token, as it is stored a permit."""
TOKEN_VARIABLE = "VARVE_UI_TOKEN"
"""What the servers and the workers of one UI inherit; jobs do not."""
TOKEN_BYTES = 16
CODE_DIGITS = 32


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_hex(TOKEN_BYTES)


def ui_token() -> str | None:
    """The token of the UI that this process belongs to; None if it belongs to none."""
    return os.environ.get(TOKEN_VARIABLE) or None


def is_token(given: str, token: str) -> bool:
    """Whether this is the token."""
    return hmac.compare_digest(_bytes(given), _bytes(token))


def new_permit(token: str, level: str) -> str:
    """A permit for one launch at a level."""
    return _signed(token, level, secrets.token_hex(8))


def is_permit(given: str, token: str, level: str) -> bool:
    """Whether a permit was made with this token, for this level."""
    expected = _signed(token, level, given.partition(".")[0])
    return hmac.compare_digest(_bytes(given), _bytes(expected))


def _signed(token: str, level: str, number: str) -> str:
    code = hmac.digest(_bytes(token), _bytes(f"{number}/{level}"), hashlib.sha256)
    return f"{number}.{code.hex()[:CODE_DIGITS]}"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
