"""The content parts of a message: words, and pictures as data URLs."""

import logging
from typing import Any

from PIL import Image

from model_store.pictures import FittedPictures

Part = dict[str, Any]
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
log = logging.getLogger(__name__)


def text_part(text: str) -> Part:
    return {"type": "text", "text": text}


def picture_parts(image: bytes | None, pictures: FittedPictures) -> list[Part]:
    """The picture at the model's size, as PNG: one part, or none when there is no picture or it can't be read.

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
