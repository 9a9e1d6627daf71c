"""Guarantees of the reading of picture URLs."""

import random

import pytest

from service.errors import BadPicture
from service.pictures.urls import join, parse
from service.settings.pictures import PictureSettings

SETTINGS = PictureSettings()
PIECES = [
    *("http", "https", "data", "javascript", "file", "HTTP", "ht tp", "http\x00"),
    *(":", "//", "/", "\\", "\\\\", "?", "#", "@", "[", "]", "%", "%00", "%2f", "..", ".", "*", "-", "_", " ", "\t"),
    *("xn--", "xn--a", "xn--zzzzzzz99999", "xn--fa-hia", "faß", "\uff41", "\u200d", "\u0130", "\ud800", "\udcff"),
    *("example.com", "a" * 64, "a." * 200, "127.1", "0x7f.1", "1.2.3.4", "::1", "fe80::1%25eth0", "v1.x", "\n"),
    *("80", "99999", "0", "-1", "user:secret", "image/png;base64,AAAA", "alert(1)", "\x00", "\x7f", "\x85", "é", "中"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://example.com/a.png", "example.com", 80),
        ("HTTPS://Example.COM./a.png", "example.com", 443),
        ("https://example.com:443", "example.com", 443),
        ("http://example.com:443/?a=b#c", "example.com", 443),
        ("http://my_shop.example/a.png", "my_shop.example", 80),
        ("http://8.8.8.8/", "8.8.8.8", 80),
        ("http://[2606:4700::0:1]/", "2606:4700::1", 80),
        ("http://faß.example/", "xn--fa-hia.example", 80),
        ("http://xn--fa-hia.example/", "xn--fa-hia.example", 80),
        ("http://中文.example/", "xn--fiq228c.example", 80),
    ],
)
def test_the_name_that_is_looked_up_is_the_one_that_is_asked_for(url: str, host: str, port: int) -> None:
    """`faß.example` was looked up as `fass.example` (IDNA 2003), and asked for as `xn--fa-hia.example` (2008)."""
    target = parse(url, SETTINGS)
    assert (target.host, target.port) == (host, port)
    if not target.is_address:
        assert target.url.netloc.decode().partition(":")[0].removesuffix(".") == host


@pytest.mark.parametrize("port", [0, 1, 22, 25, 6379, 8000, 8080, 65535])
def test_only_web_ports_are_asked(port: int) -> None:
    with pytest.raises(BadPicture, match=r"^port:"):
        parse(f"http://example.com:{port}/", SETTINGS)


def test_more_ports_can_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse("http://example.com:8080/", PictureSettings(fetch_ports=(8080,))).port == 8080
    with pytest.raises(BadPicture, match=r"^port:"):
        parse("http://example.com/", PictureSettings(fetch_ports=(8080,)))
    assert parse("http://example.com:8080/", PictureSettings(allow_private_addresses=True)).port == 8080


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a.example.com", "b.example.com", True),
        ("x.y.example.com", "example.com", True),
        ("a.shop.co.uk", "b.shop.co.uk", True),
        ("a.co.uk", "b.co.uk", False),
        ("a.example", "b.example", False),
        ("8.8.8.8", "9.8.8.8", False),
    ],
)
def test_hosts_of_one_owner_are_one_site(one: str, other: str, same: bool) -> None:
    sites = [parse(f"http://{host}/", SETTINGS).site for host in (one, other)]
    assert (sites[0] == sites[1]) == same


@pytest.mark.parametrize(
    "location",
    [
        *("data:image/png;base64,AAAA", "javascript:alert(1)", "http://xn--a/", "//xn--a/", "http://[", "//["),
        *("http://user:secret@example.com/", "//example.com:22/", "x" * 5000, "http://\ud800/"),
    ],
)  # fmt: skip
def test_a_redirect_to_what_cannot_be_fetched_is_a_refusal(location: str) -> None:
    with pytest.raises(BadPicture, match=r"^(url|port|redirects):"):
        join(parse("http://example.com/a/b", SETTINGS), location, SETTINGS)


@pytest.mark.parametrize(
    ("location", "expected"),
    [("c", "http://example.com/a/c"), ("/c", "http://example.com/c"), ("//b.example/c", "http://b.example/c"), ("?x", "http://example.com/a/b?x")],
)  # fmt: skip
def test_a_redirect_may_be_relative(location: str, expected: str) -> None:
    assert str(join(parse("http://example.com/a/b", SETTINGS), location, SETTINGS).url) == expected


def test_any_text_is_parsed_or_refused() -> None:
    """`http://xn--a/` was a 500 that lost its batch."""
    chance = random.Random(7)
    base = parse("http://example.com/a/b", SETTINGS)
    good = 0
    for _ in range(20_000):
        text = "".join(chance.choices(PIECES, k=chance.randint(1, 6)))
        if chance.random() < 0.7:
            text = chance.choice(("http://", "https://", "http:", "//")) + text
        for read in (lambda text=text: parse(text, SETTINGS), lambda text=text: join(base, text, SETTINGS)):
            try:
                target = read()
            except BadPicture:
                continue
            good += 1
            assert target.host.isascii()
            assert target.port in {80, 443}
            assert target.url.scheme in {"http", "https"}
    assert good > 1000
