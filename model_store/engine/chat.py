"""Chat completions: content parts of a message, requests for text, and the text of an answer."""

import json
import logging
from typing import Any

from model_store.engine.errors import BadAnswer
from model_store.pictures import UNREADABLE, FittedPictures
from model_store.prompts.clean import clean
from model_store.soft_tokens import BadSoftTokens, SoftTokenTexts

Part = dict[str, Any]
RETRY_TEMPERATURE = 0.7
JSON_TOKENS = 16
"""What an answer in JSON may take in addition to its text."""
_FIELD = "text"
_JSON_LINE = f'\n\nGive the answer as JSON: {{"{_FIELD}": "..."}}'
_JSON_FORMAT = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "schema": {
            "type": "object",
            "properties": {_FIELD: {"type": "string", "minLength": 1}},
            "required": [_FIELD],
            "additionalProperties": False,
        },
    },
}
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
    except UNREADABLE as error:
        log.warning("a picture was left out of a prompt: %s", error)
        return []
    return [{"type": "image_url", "image_url": {"url": url}}]


def soft_token_parts(blob: bytes | None, texts: SoftTokenTexts) -> list[Part]:
    """The soft tokens of a picture, or nothing if there are none, or they are not what the model reads.

    They are checked here because a server takes any tensor that it can load.
    """
    if blob is None:
        return []
    try:
        return [{"type": "prompt_embeds", "data": texts.text(blob)}]
    except BadSoftTokens as error:
        log.warning("soft tokens were left out of a prompt: %s", error)
        return []


def text_request(
    content: str | list[Part], max_tokens: int, attempt: int, presence_penalty: float = 0.0, *, in_json: bool = False
) -> dict[str, Any]:
    """A chat completion of at most `max_tokens` tokens, greedy at the first attempt.

    Later attempts sample, since a greedy answer would be the same again. They carry no seed: vLLM on CPUs crashes on a
    seeded request whose prompt takes more than one step. Models that can think first are told not to.

    Args:
        content: the message.
        in_json: constrain the answer to a JSON object with the text, which leaves no room for an introduction, a
            heading or an explanation. For instruct models that were not trained to answer with the text alone.
    """
    request: dict[str, Any] = {
        "messages": [{"role": "user", "content": _asking_for_json(content) if in_json else content}],
        "max_tokens": max_tokens + (JSON_TOKENS if in_json else 0),
        "temperature": RETRY_TEMPERATURE if attempt else 0.0,
        "presence_penalty": presence_penalty,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    return request | ({"response_format": _JSON_FORMAT} if in_json else {})


def _asking_for_json(content: str | list[Part]) -> str | list[Part]:
    if isinstance(content, str):
        return content + _JSON_LINE
    *others, words = content
    return [*others, text_part(words["text"] + _JSON_LINE)]


def read_text(answer: Any, limit: int, *, in_json: bool = False) -> str:
    """The text of the answer, cleaned and cut to `limit` characters.

    Args:
        answer: of `/v1/chat/completions`.
        in_json: as the request said.

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
    if in_json:
        text = _text_in_json(text)
    if not (cleaned := clean(text, limit)):
        raise BadAnswer("empty", "the answer has no words")
    return cleaned


def _text_in_json(content: str) -> str:
    """The text of the object, or the whole content of a server that does not constrain answers.

    Raises:
        BadAnswer: a damaged or another object.
    """
    if not content.lstrip().startswith("{"):
        return content
    try:
        return str(json.loads(content)[_FIELD])
    except (ValueError, KeyError, RecursionError) as error:
        raise BadAnswer("malformed", f"the answer is not the JSON object that was asked for: {error!r}") from None
