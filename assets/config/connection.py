"""How a model is reached: the provider's address and protocol, its key's variable, its options.

A connection holds no key and may be printed, stored and compared. `extra` of `openai_chat` goes
into the request as it is; all other options are checked here against what the protocol has.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from assets.config.prices import Rates, price_of

ProtocolName = Literal["anthropic", "openai", "openai_chat"]

ADDRESSES: Mapping[str, str] = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com/v1",
    "openai_chat": "https://api.openai.com/v1",
}
"""Used where no base_url is given; the SDKs' own variables for it are ignored."""
KEYS: Mapping[str, str] = {
    "anthropic": "ANTHROPIC_API_KEY",
    "openai": "OPENAI_API_KEY",
    "openai_chat": "OPENAI_API_KEY",
}
"""Variables that hold the keys for those addresses."""
ADDRESS = re.compile(
    r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~!$&'()*+,;=:%-]*)*"
)
"""What every reader of addresses takes apart in the same way."""
MAX_TOKENS = 1_000_000


class StrictModel(BaseModel):
    """Unknown keys are errors; nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class AnthropicOptions(StrictModel):
    """The Messages API has no temperature and no top_p."""

    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] = 16_384
    """Most tokens of an answer, thinking included; the protocol demands a number."""
    thinking: Annotated[int, Field(ge=1024)] | Literal["adaptive", "off"] | None = None
    """A budget in tokens, below `max_tokens`; None leaves it to the model."""
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None

    @model_validator(mode="after")
    def _budget_fits(self) -> "AnthropicOptions":
        if isinstance(self.thinking, int) and self.thinking >= self.max_tokens:
            raise ValueError(f"a budget for thinking below max_tokens ({self.max_tokens})")
        return self


class ResponsesOptions(StrictModel):
    """The Responses API; reasoning models refuse temperature and top_p."""

    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    """Most tokens of an answer, reasoning included."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    """Of the reasoning, kept as thinking; some accounts may not ask for it."""
    verbosity: Literal["low", "medium", "high"] | None = None


class ChatOptions(StrictModel):
    """Chat completions, from OpenAI or from a server that speaks the same protocol."""

    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    seed: int | None = None
    extra: dict[str, Any] = Field(default_factory=dict)
    """More fields of the request that only this server knows, for example `top_k`."""


Options = AnthropicOptions | ResponsesOptions | ChatOptions

OPTIONS: Mapping[str, type[Options]] = {
    "anthropic": AnthropicOptions,
    "openai": ResponsesOptions,
    "openai_chat": ChatOptions,
}


class Connection(BaseModel):
    """A model at a provider."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    provider: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    """As `defs.yaml` calls it; the first half of a model's name in the lake."""
    protocol: ProtocolName
    model: Annotated[str, Field(min_length=1, max_length=200)]
    base_url: str | None = None
    """None is the vendor's own address."""
    key_variable: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = None
    """Environment variable of the key; None is the vendor's usual one at the vendor's address,
    and no key anywhere else."""
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    """Longest silence between two bytes, and from the request to the first."""
    tries: Annotated[int, Field(ge=1, le=100)] = 6
    stream: bool = True
    """Without it a long answer is one long silence."""
    options: Options
    """Those of the protocol; a mapping is checked against them."""
    price: Rates | None = None
    """For a server of your own, for example 0; None uses the price table."""

    @model_validator(mode="before")
    @classmethod
    def _read_options(cls, fields: Any) -> Any:  # noqa: ANN401  pydantic hands over anything
        """Turn a mapping into the protocol's options; without one, take its defaults."""
        if not isinstance(fields, dict) or fields.get("protocol") not in OPTIONS:
            return {"options": ChatOptions(), **fields} if isinstance(fields, dict) else fields
        options = fields.get("options") or {}
        if isinstance(options, Mapping):
            options = read_options(str(fields["protocol"]), options)
        return {**fields, "options": options}

    @model_validator(mode="after")
    def _fits(self) -> "Connection":
        if not isinstance(self.options, OPTIONS[self.protocol]):
            found, expected = type(self.options).__name__, OPTIONS[self.protocol].__name__
            raise ValueError(f"options: found {found}, expected {expected}")
        check_address(self.address)
        return self

    @property
    def name(self) -> str:
        """As `provider/model`."""
        return f"{self.provider}/{self.model}"

    @property
    def address(self) -> str:
        """Where requests go."""
        return self.base_url or ADDRESSES[self.protocol]

    @property
    def variable(self) -> str | None:
        """The environment variable of the key; None where none is needed."""
        at_vendor = self.address == ADDRESSES[self.protocol]
        return self.key_variable or (KEYS[self.protocol] if at_vendor else None)

    @property
    def is_priced(self) -> bool:
        """Whether the cost of its calls will be known."""
        return self.price is not None or price_of(self.protocol, self.model) is not None


def read_options(protocol: str, options: Mapping[str, object]) -> Options:
    """The options of a protocol.

    Raises:
        ValueError: the protocol has no such option or no such value; the message names the field,
            what was found and what was expected.
    """
    kind = OPTIONS[protocol]
    try:
        return kind.model_validate(dict(options))
    except ValidationError as error:
        problems = [_problem(protocol, kind, dict(found)) for found in error.errors()]
    raise ValueError("; ".join(dict.fromkeys(problems)))


def _problem(protocol: str, kind: type[Options], error: Mapping[str, Any]) -> str:
    field = str(error["loc"][0]) if error["loc"] else "thinking"
    expected = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    if error["type"] == "extra_forbidden":
        expected = f"one of {', '.join(kind.model_fields)}, as the protocol {protocol} has no other"
    found = error["input"] if error["loc"] else error["input"].get("thinking")
    return f"options.{field}: found {found!r}, expected {expected}"


def check_address(address: str) -> None:
    """Check that an address is written so that everybody reads the same host in it.

    Raises:
        ValueError: saying what was expected.
    """
    if {"@", "?", "#"} & set(address):
        raise ValueError(
            "base_url: found a user, a password, a query or a fragment in it, expected none: keys "
            "belong in the environment, in the variable that `key` of the provider names"
        )
    if not ADDRESS.fullmatch(address):
        raise ValueError(
            "base_url: expected an address that begins with http:// or https:// and a host, in "
            "ASCII, for example http://127.0.0.1:8000/v1"
        )
    if urlsplit(address).port == 0:
        raise ValueError("base_url: found the port 0, expected 1 to 65535")
