"""What the answers of a model server say about the asking: whoever counts it gives an engine an `Observer`."""

from dataclasses import dataclass
from typing import Any, Protocol, Self

from model_store.engine.breaker import State


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. `cached` of the `prompt` ones were in the prefix cache, as far as the server says so."""

    prompt: int
    completion: int
    cached: int

    @classmethod
    def of(cls, answer: Any) -> Self | None:
        """The OpenAI field `usage` of an answer; None where it is missing or malformed."""
        try:
            usage = answer["usage"]
            details = usage.get("prompt_tokens_details") or {}
            counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"), details.get("cached_tokens"))
            return cls(*(max(0, int(count or 0)) for count in counts))
        except (AttributeError, KeyError, TypeError, ValueError):
            return None


class Observer(Protocol):
    def usage(self, usage: Usage) -> None:
        """An answer cost these tokens."""

    def label_mass(self, mass: float) -> None:
        """p(yes) + p(no) at the first answer position, in 0..1: how far the model answers the question at all."""

    def breaker(self, url: str, state: State) -> None:
        """The circuit breaker of this server has this state now."""

    def retry_budget(self, left: float) -> None:
        """This share of the retry budget is left, in 0..1."""


class Unobserved:
    """Counts nothing."""

    def usage(self, usage: Usage) -> None:
        pass

    def label_mass(self, mass: float) -> None:
        pass

    def breaker(self, url: str, state: State) -> None:
        pass

    def retry_budget(self, left: float) -> None:
        pass
