"""Product feeds as Google Merchant Center takes them: tab-separated, or XML (RSS 2.0 or Atom)."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from model_store.data.rows import Rejected, converted, item
from model_store.data.tables import rows
from model_store.data.text_files import DataFileError, Encoding, detect, open_bytes, open_text

_TAGS = ("brand", "color", "material")
_ATTRIBUTES = ("availability", "brand", "condition", "item_group_id")
_PRICES = ("price", "sale_price")
_OTHER = ("id", "title", "description", "image_link", "product_type", "google_product_category")
_COLUMNS = {name: (f"g:{name}",) for name in (*_OTHER, *_TAGS, *_ATTRIBUTES, *_PRICES)} | {
    "color": ("g:color", "colour")
}
_PRICE = re.compile(r"\s*([0-9]+(?:[.,][0-9]+)?)\s*([A-Z]{3})?\s*")
_ENTRY = ("item", "entry")
_START = 64 * 1024


def fits(source: Path) -> bool:
    if not source.is_file():
        return False
    with open_text(source) as text:
        start = text.read(_START)
    if _is_xml(start):
        return True
    header = start.partition("\n")[0].lower()
    return "\t" in header and "image" in header and "title" in header


def items(source: Path) -> Iterator[dict[str, Any] | Rejected]:
    encoding = detect(source)
    with open_text(source, encoding) as text:
        start = text.read(_START)
    if not _is_xml(start):
        products = rows(source, _COLUMNS, ("id", "title"), encoding)
    elif "<!DOCTYPE" in start.upper():
        # Its entities could make a small file endless.
        raise DataFileError(f"{source}: a feed with a document type declaration is not read; remove <!DOCTYPE ...>")
    else:
        products = _xml(source, encoding)
    for line, product in products:
        yield converted(source, line, _item, product)


def _is_xml(start: str) -> bool:
    return start.lstrip("\ufeff \r\n\t").startswith("<")


def _xml(source: Path, encoding: Encoding) -> Iterator[tuple[int, dict[str, str]]]:
    """The products by their number in the file.

    Raises:
        DataFileError: it is not XML.
    """
    number = 0
    try:
        with open_bytes(source, encoding) as stream:
            for _, element in ElementTree.iterparse(stream):  # noqa: S314 - `items` rejects document types
                if _name(element.tag) in _ENTRY:
                    number += 1
                    yield number, {_name(part.tag): (part.text or "").strip() for part in element}
                    element.clear()
    except ElementTree.ParseError as error:
        raise DataFileError(f"{source} is not well-formed XML: {error}") from None


def _name(tag: str) -> str:
    return tag.rpartition("}")[2].lower()


def _item(product: dict[str, str]) -> dict[str, Any]:
    attributes: dict[str, Any] = {name: product[name] for name in _ATTRIBUTES if product.get(name)}
    for name in _PRICES:
        if match := _PRICE.fullmatch(product.get(name, "")):
            attributes[name] = float(match[1].replace(",", "."))
            if match[2]:
                attributes["currency"] = match[2]
    category = product.get("product_type") or product.get("google_product_category") or ""
    return item(
        item_id=product.get("id"),
        title=product.get("title"),
        description=product.get("description") or product.get("summary"),
        genres=[] if category.isdecimal() else category.replace(">", "|"),
        tags=[product[name] for name in _TAGS if product.get(name)],
        image_url=product.get("image_link"),
        attributes=attributes,
    )
