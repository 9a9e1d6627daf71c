"""What an item says of its picture, while a caller waits: base64 is taken in, a URL is left to a worker."""

from dataclasses import dataclass
from typing import Literal

from service.errors import BadPicture
from service.items.schemas import ItemIn
from service.pictures.addresses import is_public
from service.pictures.ingest import PictureIngest
from service.pictures.urls import parse
from service.settings import PictureSettings


@dataclass(frozen=True, slots=True)
class Given:
    """What came of the picture that was given with an item.

    `stored`: `picture` is its hash, and `error` a warning if there is one. `pending`: it is to be fetched from `url`.
    `refused`: `error` says why. `none`: taken away. `untouched`: not mentioned.
    """

    outcome: Literal["stored", "pending", "refused", "none", "untouched"]
    picture: str | None = None
    error: str | None = None
    url: str | None = None


def brings_bytes(item: ItemIn) -> bool:
    return item.image_base64 is not None


class PictureIntake:
    """Takes pictures in."""

    def __init__(self, settings: PictureSettings, ingest: PictureIngest) -> None:
        self._settings = settings
        self._ingest = ingest

    async def take(self, item: ItemIn) -> Given:
        """Store the item's picture, if it brings one; a bad one is an outcome, not an error.

        Raises:
            Overloaded: too many pictures wait to be decoded.
            StateUnavailable: the picture folder can't be written, or nothing decodes pictures.
        """
        if item.image_base64 is None:
            return self.look(item)
        try:
            stored = await self._ingest.take_base64(item.image_base64)
        except BadPicture as error:
            self._ingest.count_refused(error)
            return Given("refused", error=error.detail)
        return Given("stored", stored.picture, stored.warning)

    def look(self, item: ItemIn) -> Given:
        """What an item that brings no bytes says of its picture; nobody is asked for it yet."""
        if item.image_url is None:
            return Given("none" if item.model_fields_set & {"image_url", "image_base64"} else "untouched")
        try:
            target = parse(item.image_url, self._settings)
            if target.is_address and not (self._settings.allow_private_addresses or is_public(target.host)):
                raise BadPicture("private_address: the URL leads to an address that is not public")
        except BadPicture as error:
            self._ingest.count_refused(error)
            return Given("refused", error=error.detail)
        return Given("pending", url=item.image_url)
