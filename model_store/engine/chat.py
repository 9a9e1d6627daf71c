"""Chat completions: content parts of a message, requests for text, and the text of an answer."""

import logging
from typing import Any

from PIL import Image

from model_store.engine.errors import BadAnswer
from model_store.pictures import FittedPictures
from model_store.prompts.clean import clean

Part = dict[str, Any]
RETRY_TEMPERATURE = 0.7
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
log = logging.getLogger(__name__)


def text_part(text: str) -> Part:
    return {"type": "text", "text": text}


def picture_parts(image: bytes | None, pictures: FittedPictures) -> list[Part]:
    """The picture at the model's size as a PNG data URL, or nothing if it is missing or unreadable.

    A server never gets a URL that it would have to fetch.
    """
    if image is None:
        return []
    try:
        url = pictures.data_url(image)
    except _UNREADABLE as error:
        log.warning("a picture was left out of a prompt: %s", error)
        return []
    return [{"type": "image_url", "image_url": {"url": url}}]


def text_request(
    content: str | list[Part], max_tokens: int, attempt: int, presence_penalty: float = 0.0
) -> dict[str, Any]:
    """A chat completion of at most `max_tokens` tokens, greedy at the first attempt.

    Later attempts sample, since a greedy answer would be the same again. They carry no seed: vLLM on CPUs crashes on a
    seeded request whose prompt takes more than one step. Models that can think first are told not to.
    """
    return {
        "messages": [{"role": "user", "content": content}],
        "max_tokens": max_tokens,
        "temperature": RETRY_TEMPERATURE if attempt else 0.0,
        "presence_penalty": presence_penalty,
        "chat_template_kwargs": {"enable_thinking": False},
    }


def read_text(answer: Any, limit: int) -> str:
    """The text of the answer, cleaned and cut to `limit` characters.

    Raises:
        BadAnswer: malformed, cut off by the token limit (`too_long`), or blank (`empty`).
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
