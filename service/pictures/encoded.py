"""What can be read from an encoded picture without decoding it: its format, and the scans of a JPEG."""

import re
from collections.abc import Iterator

from service.errors import BadPicture

KINDS = "PNG, JPEG, WebP, GIF, AVIF, BMP and TIFF"
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*")
_AVIF = frozenset({b"avif", b"avis"})
_HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_UNSUPPORTED = (
    (re.compile(rb"<\?xml|<!--|<svg", re.IGNORECASE), "SVG or XML; draw it as PNG"),
    (re.compile(rb"<!doctype|<html|<head|<body", re.IGNORECASE), "a web page; give the URL of the picture itself"),
    (re.compile(rb"%PDF-"), "PDF; save the page as PNG or JPEG"),
    (re.compile(rb"\xff\x0a|\x00\x00\x00\x0cJXL "), "JPEG XL; save it as JPEG or PNG"),
    (re.compile(rb"\x00\x00\x00\x0cjP|\xff\x4f\xff\x51"), "JPEG 2000; save it as JPEG or PNG"),
    (re.compile(rb"8BPS"), "a Photoshop file; save it as PNG or JPEG"),
    (re.compile(rb"data:|https?:", re.IGNORECASE), "a URL, not the bytes of a picture"),
    (re.compile(rb"[A-Za-z0-9+/_-]{64}"), "text, perhaps base64 twice"),
)
# Not a marker: stuffed zeros, restarts and fill bytes.
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_WITHOUT_LENGTH = frozenset({0x01, 0xD8})


def unknown_kind(encoded: bytes) -> BadPicture:
    """Why these bytes can't be opened and, for known formats, what to do about it."""
    head = encoded[:256].lstrip()
    brand = encoded[8:12] if encoded[4:8] == b"ftyp" else b""
    if encoded.startswith(_SIGNATURES) or (encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP"):
        return BadPicture("damaged: it can't be decoded")
    if brand in _AVIF:
        return BadPicture("format: AVIF that is damaged, or that the service was built without; save it as JPEG or PNG")
    if brand in _HEIC:
        return BadPicture("format: HEIC; save it as JPEG (an iPhone does with Camera, Formats, Most Compatible)")
    for pattern, remedy in _UNSUPPORTED:
        if pattern.match(head):
            return BadPicture(f"format: {remedy}")
    return BadPicture(f"format: not one of {KINDS}")


def check_scans(encoded: bytes, pixels: int, max_scans: int, max_scanned_pixels: int) -> None:
    """Bound the scans of a progressive JPEG: each is a pass over all pixels, however few bytes it has.

    Raises:
        BadPicture: more than `max_scans`, or than `max_scanned_pixels` in all scans together.
    """
    for count, _ in enumerate(_scans(encoded), 1):
        if count > max_scans or count * pixels > max(max_scanned_pixels, pixels):
            raise BadPicture(f"too_costly: a progressive JPEG of {count} scans or more; save it as baseline")


def _scans(encoded: bytes) -> Iterator[int]:
    """The positions at which the scans of the first image begin. Thumbnails in metadata are skipped."""
    position = 0
    while (found := _MARKER.search(encoded, position)) is not None:
        marker, position = found[1][0], found.end()
        if marker == _END_OF_IMAGE:
            return
        if marker == _START_OF_SCAN:
            yield position
        if marker not in _WITHOUT_LENGTH:
            position += max(2, int.from_bytes(encoded[position : position + 2], "big"))
