"""Each layout is read as its items and interactions. The files have the form of the originals."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model_store.data.importers import LAYOUTS, find_layout
from model_store.data.rows import InteractionRow, Rejected
from model_store.data.text_files import DataFileError


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return folder


def used(found: Iterator[Any]) -> list[Any]:
    return [row for row in found if not isinstance(row, Rejected)]


def rejected(found: Iterator[Any]) -> list[Rejected]:
    return [row for row in found if isinstance(row, Rejected)]


def both(source: Path, layout: str) -> tuple[list[Any], list[Any]]:
    name, found = find_layout(source)
    assert name == layout
    assert found.interactions is not None
    return used(found.items(source)), used(found.interactions(source))


@pytest.mark.parametrize("zipped", ["", ".gz"])
def test_movielens_as_csv(tmp_path: Path, zipped: str) -> None:
    write(
        tmp_path,
        {
            f"movies.csv{zipped}": 'movieId,title,genres\n1,"Tide, The (1995)",Drama|War\n2,Ring,(no genres listed)\n',
            f"ratings.csv{zipped}": "userId,movieId,rating,timestamp\n7,1,4.5,964982703\n",
            f"tags.csv{zipped}": "userId,movieId,tag,timestamp\n7,1,Sea,1\n8,1,sea,1\n8,1,calm,1\n",
        },
    )
    items, interactions = both(tmp_path, "movielens")
    assert items == [
        {"item_id": "1", "title": "Tide, The (1995)", "genres": ["Drama", "War"], "tags": ["sea", "calm"]},
        {"item_id": "2", "title": "Ring"},
    ]
    assert interactions == [InteractionRow("7", "1", 964982703.0, 4.5)]


def test_movielens_1m(tmp_path: Path) -> None:
    movies = "1::Amélie (2001)::Comedy|Romance\n".encode("latin-1")
    write(tmp_path, {"movies.dat": movies, "ratings.dat": "7::1::5::978300760\n"})
    items, interactions = both(tmp_path, "movielens")
    assert items == [{"item_id": "1", "title": "Amélie (2001)", "genres": ["Comedy", "Romance"]}]
    assert interactions == [InteractionRow("7", "1", 978300760.0, 5.0)]


@pytest.mark.parametrize("zipped", ["", ".gz"])
def test_movielens_100k(tmp_path: Path, zipped: str) -> None:
    flags = ["0"] * 19
    flags[5] = flags[14] = "1"
    write(
        tmp_path,
        {
            f"u.item{zipped}": f"1|Tide (1995)|01-Jan-1995||http://x|{'|'.join(flags)}\n",
            f"u.data{zipped}": "7\t1\t3\t881250949\n",
        },
    )
    items, interactions = both(tmp_path, "movielens")
    assert items == [{"item_id": "1", "title": "Tide (1995)", "genres": ["Comedy", "Romance"]}]
    assert interactions == [InteractionRow("7", "1", 881250949.0, 3.0)]


@pytest.mark.parametrize("zipped", ["", ".gz"])
def test_amazon_reviews_2023(tmp_path: Path, zipped: str) -> None:
    product = {
        "main_category": "Office",
        "title": "Pen",
        "features": ["Blue ink"],
        "description": ["Writes."],
        "price": 3.5,
        "images": [
            {"large": "https://x/side.jpg", "variant": "PT01"},
            {"large": "https://x/main.jpg", "variant": "MAIN"},
        ],
        "store": "Pens",
        "categories": ["Office", "Pens"],
        "parent_asin": "B1",
    }
    review = {
        "rating": 5.0,
        "title": "Good",
        "asin": "B1x",
        "parent_asin": "B1",
        "user_id": "u",
        "timestamp": 1588687728923,
    }
    write(
        tmp_path,
        {
            f"meta_Office.jsonl{zipped}": json.dumps(product) + "\n" + json.dumps({**product, "title": None}) + "\n{\n",
            f"Office.jsonl{zipped}": json.dumps(review) + "\n",
        },
    )
    items, interactions = both(tmp_path, "amazon-2023")
    assert items == [
        {
            "item_id": "B1",
            "title": "Pen",
            "description": "Writes. Blue ink",
            "genres": ["Office", "Pens"],
            "image_url": "https://x/main.jpg",
            "attributes": {"price": 3.5, "store": "Pens"},
        }
    ]
    assert interactions == [InteractionRow("u", "B1", 1588687728.923, 5.0)]
    missing, malformed = rejected(LAYOUTS["amazon-2023"].items(tmp_path))
    assert (missing.line, missing.reason) == (2, "title is missing or empty")
    assert malformed.line == 3
    assert malformed.reason.startswith("not JSON")


def test_amazon_ratings_stand_in_for_reviews(tmp_path: Path) -> None:
    ratings = "user_id,parent_asin,rating,timestamp\nu,B1,4.0,1588687728923\n"
    write(tmp_path, {"meta_Office.jsonl": '{"parent_asin": "B1", "title": "Pen"}\n', "Office.csv": ratings})
    assert both(tmp_path, "amazon-2023")[1] == [InteractionRow("u", "B1", 1588687728.923, 4.0)]


def test_microlens(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "MicroLens-50k_pairs.csv": "user,item,timestamp\n7,1,1583378629552\n",
            "MicroLens-50k_titles.csv": 'item,title\n1,"A dog, running"\n2,A cat\n',
            "MicroLens-50k_covers/1.jpg": b"picture",
        },
    )
    items, interactions = both(tmp_path, "microlens")
    assert items == [{"item_id": "1", "title": "A dog, running", "image": "1.jpg"}, {"item_id": "2", "title": "A cat"}]
    assert interactions == [InteractionRow("7", "1", 1583378629.552)]
    assert LAYOUTS["microlens"].images(tmp_path) == tmp_path / "MicroLens-50k_covers"


def test_microlens_sequences(tmp_path: Path) -> None:
    write(tmp_path, {"MicroLens-100k_pairs.tsv": "7\t3 1\n", "MicroLens-100k_titles.csv": "item,title\n1,A\n"})
    assert both(tmp_path, "microlens")[1] == [InteractionRow("7", "3", 0.0), InteractionRow("7", "1", 1.0)]


def test_a_line_of_sequences_without_a_tab_is_rejected(tmp_path: Path) -> None:
    pairs = "7\t3 1\n8 3 1\n9\t\n"
    write(tmp_path, {"MicroLens-100k_pairs.tsv": pairs, "MicroLens-100k_titles.csv": "item,title\n1,A\n"})
    layout = LAYOUTS["microlens"]
    assert layout.interactions is not None
    assert [(row.line, row.reason) for row in rejected(layout.interactions(tmp_path))] == [(2, "no tab after the user")]


@pytest.mark.parametrize("name", ["MicroLens-100k_title_en.csv", "MicroLens-1M_title.csv", "MicroLens-50k_titles.csv"])
def test_microlens_titles_without_a_header(tmp_path: Path, name: str) -> None:
    titles = '\ufeff1,A dog, running "fast\n2,"A ""cat"", asleep"\n\n3,\n4,"\n'
    write(tmp_path, {"MicroLens-100k_pairs.csv": "user,item,timestamp\n7,1,1583378629552\n", name: titles})
    items, _ = both(tmp_path, "microlens")
    assert items == [
        {"item_id": "1", "title": 'A dog, running "fast'},
        {"item_id": "2", "title": 'A "cat", asleep'},
        {"item_id": "4", "title": '"'},
    ]
    assert [row.line for row in rejected(LAYOUTS["microlens"].items(tmp_path))] == [4]


@pytest.mark.parametrize("rating", ["", "6", "-1", "five"])
def test_a_rating_that_is_missing_or_off_the_scale_is_rejected(tmp_path: Path, rating: str) -> None:
    product, review = {"parent_asin": "1", "title": "A"}, {"user_id": "u", "parent_asin": "1", "timestamp": 1}
    sources: dict[str, dict[str, str | bytes]] = {
        "csv": {
            "movies.csv": "movieId,title\n1,A\n",
            "ratings.csv": f"userId,movieId,rating,timestamp\n7,1,{rating},1\n",
        },
        "1m": {"movies.dat": "1::A::War\n", "ratings.dat": f"7::1::{rating}::1\n"},
        "100k": {"u.item": f"1|A{'|' * 22}\n", "u.data": f"7\t1\t{rating}\t1\n"},
        "reviews": {
            "meta_A.jsonl": json.dumps(product),
            "A.jsonl": json.dumps(review | ({"rating": rating} if rating else {})),
        },
        "ratings": {
            "meta_A.jsonl": json.dumps(product),
            "A.csv": f"user_id,parent_asin,rating,timestamp\nu,1,{rating},1\n",
        },
    }
    for name, files in sources.items():
        _, layout = find_layout(write(tmp_path / name, files))
        assert layout.interactions is not None
        assert [row.reason.partition(" ")[0] for row in layout.interactions(tmp_path / name)] == ["rating"], name


def test_an_amazon_description_may_be_one_text(tmp_path: Path) -> None:
    product = {"parent_asin": "B1", "title": "Pen", "description": "Writes well.", "features": ["Blue"]}
    write(tmp_path, {"meta_Office.jsonl": json.dumps(product)})
    assert used(LAYOUTS["amazon-2023"].items(tmp_path))[0]["description"] == "Writes well. Blue"


def test_tables_with_other_column_names(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "products.csv": "SKU;Name;Category;image link\nA-1;Cup;kitchen|tea;https://x/a.jpg\n;Nameless;;\nA-2;;;\n",
            "events.tsv": "customer_id\tsku\tevent_time\tevent_type\n"
            "u\tA-1\t2024-01-01 00:00:00\tpurchase\nu\tA-1\tsoon\t\n",
        },
    )
    items, interactions = both(tmp_path, "tables")
    assert items == [{"item_id": "A-1", "title": "Cup", "genres": ["kitchen", "tea"], "image_url": "https://x/a.jpg"}]
    assert interactions == [InteractionRow("u", "A-1", 1704067200.0, None, "purchase")]
    layout = LAYOUTS["tables"]
    assert layout.interactions is not None
    assert [(row.line, row.reason) for row in rejected(layout.items(tmp_path))] == [
        (3, "item_id is missing"),
        (4, "title is missing or empty"),
    ]
    assert [row.line for row in rejected(layout.interactions(tmp_path))] == [3]


FEED = {
    "item_id": "A-1",
    "title": "Cup & saucer",
    "description": "Fine.",
    "genres": ["Home", "Kitchen"],
    "tags": ["Acme", "blue"],
    "image_url": "https://x/a.jpg",
    "attributes": {"availability": "in_stock", "brand": "Acme", "price": 15.0, "currency": "EUR"},
}
RSS = """<?xml version="1.0" encoding="{encoding}"?>
<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel><title>Shop</title>
<item><g:id>A-1</g:id><title>Cup &amp; saucer</title><g:description>Fine.</g:description>
<g:product_type>Home &gt; Kitchen</g:product_type><g:brand>Acme</g:brand><g:color>blue</g:color>
<g:image_link>https://x/a.jpg</g:image_link><g:availability>in_stock</g:availability><g:price>15.00 EUR</g:price></item>
<item><g:id>A-2</g:id></item></channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0">
<entry><g:id>A-1</g:id><g:title>Cup &amp; saucer</g:title><summary>Fine.</summary>
<g:product_type>Home &gt; Kitchen</g:product_type><g:brand>Acme</g:brand><g:color>blue</g:color>
<g:image_link>https://x/a.jpg</g:image_link><g:availability>in_stock</g:availability><g:price>15,00 EUR</g:price>
</entry></feed>"""
TSV = (
    "id\ttitle\tdescription\timage link\tproduct type\tbrand\tcolor\tavailability\tprice\n"
    "A-1\tCup & saucer\tFine.\thttps://x/a.jpg\tHome > Kitchen\tAcme\tblue\tin_stock\t15.00 EUR\n"
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("feed.xml", RSS.format(encoding="UTF-8").encode()),
        ("feed.xml", RSS.format(encoding="ISO-8859-1").encode("latin-1")),
        ("feed.xml", RSS.format(encoding="UTF-16").encode("utf-16")),
        ("feed.xml.gz", RSS.format(encoding="UTF-8").encode()),
        ("feed.xml", ATOM.encode()),
        ("feed.txt", TSV.encode("utf-8-sig")),
        ("feed.tsv.gz", TSV.encode()),
    ],
    ids=["rss", "latin-1", "utf-16", "rss.gz", "atom", "tsv", "tsv.gz"],
)
def test_a_product_feed(tmp_path: Path, name: str, content: bytes) -> None:
    source = write(tmp_path, {name: content}) / name
    layout, found = find_layout(source)
    assert layout == "product-feed"
    assert used(found.items(source)) == [FEED]
    if content.count(b"A\x00-\x002" if b"\x00" in content else b"A-2"):
        assert [(row.line, row.reason) for row in rejected(found.items(source))] == [(2, "title is missing or empty")]


def test_a_feed_with_a_document_type_is_refused(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><rss><item><id>&b;</id></item></rss>'
    source = write(tmp_path, {"feed.xml": bomb}) / "feed.xml"
    with pytest.raises(DataFileError, match="document type"):
        list(LAYOUTS["product-feed"].items(source))


def test_a_feed_that_is_cut_short_is_named(tmp_path: Path) -> None:
    source = write(tmp_path, {"feed.xml": RSS.format(encoding="UTF-8")[:-40]}) / "feed.xml"
    with pytest.raises(DataFileError, match="not well-formed"):
        list(LAYOUTS["product-feed"].items(source))


def test_what_is_of_no_layout_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="movielens, microlens"):
        find_layout(write(tmp_path, {"notes.md": "nothing"}))
    with pytest.raises(DataFileError, match="does not exist"):
        find_layout(tmp_path / "nowhere")
