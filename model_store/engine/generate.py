"""Asking for text: a chat completion, and the words read from its answer."""

from typing import Any

from model_store.engine.content import Part
from model_store.engine.errors import BadAnswer
from model_store.prompts.clean import clean

RETRY_TEMPERATURE = 0.7


def text_request(
    content: str | list[Part], max_tokens: int, attempt: int = 0, presence_penalty: float = 0.0
) -> dict[str, Any]:
    """A chat completion of at most `max_tokens` tokens, greedy at the first attempt.

    A greedy answer that was no good would be given again, so that later attempts sample. They
    carry no seed: vLLM on CPUs dies of one whose prompt takes more than one step. Models that can
    think first are told not to.
    """
    return {
        "messages": [{"role": "user", "content": content}],
        "max_tokens": max_tokens,
        "temperature": RETRY_TEMPERATURE if attempt else 0.0,
        "presence_penalty": presence_penalty,
        "chat_template_kwargs": {"enable_thinking": False},
    }


def read_text(answer: Any, limit: int) -> str:
    """The answer's words, cleaned and cut to `limit` characters.

    Raises:
        BadAnswer: malformed, cut off by the token limit (`too_long`), or nothing but space (`empty`).
    """
    try:
        choice = answer["choices"][0]
        finish_reason, text = choice["finish_reason"], choice["message"]["content"] or ""
    except (KeyError, IndexError, TypeError) as error:
        raise BadAnswer("malformed", f"no choice in the answer: {error!r}") from None
    if finish_reason == "length":
        raise BadAnswer("too_long", f"the answer did not end in time; it begins with {text[:60]!r}")
    if not (cleaned := clean(text, limit)):
        raise BadAnswer("empty", "the answer has no words")
    return cleaned
