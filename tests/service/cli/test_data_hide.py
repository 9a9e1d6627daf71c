"""`tastestream data hide-items` leaves nothing of what happened to hidden items."""

import json
from pathlib import Path

from PIL import Image

from model_store.data.dataset import read_dataset
from model_store.evaluate.retrieval.cases import RetrievalProtocol, make_retrieval_cases
from tests.model_store.evaluate.worlds import world, write_world
from tests.service.cli.conftest import Run

SHARE = ("--cold-share", "0.3", "--seed", "4")


def shop(folder: Path) -> Path:
    """60 items; the first has a picture and a description, and a model has summarized a user."""
    write_world(world(), folder)
    (folder / "images").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "images/a.png")
    lines = (folder / "items.jsonl").read_text().splitlines()
    lines[0] = json.dumps(json.loads(lines[0]) | {"image": "a.png", "brand": "Acme"})
    (folder / "items.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "descriptions.jsonl").write_text('{"item_id": "i0", "summary": "A square."}\n')
    (folder / "summaries.jsonl").write_text('{"user_id": "u1", "events": 3, "summary": "Likes all."}\n')
    return folder


def test_the_interactions_of_the_hidden_items_of_the_evaluation_are_removed(tastestream: Run, tmp_path: Path) -> None:
    source, out = shop(tmp_path / "shop"), tmp_path / "known"
    ended = tastestream("data", "hide-items", str(source), str(out), *SHARE)
    assert ended.code == 0, ended.err
    before, after = read_dataset(source), read_dataset(out)
    drawn = make_retrieval_cases(before, RetrievalProtocol(cold_share=0.3, seed=4))
    assert 5 < len(drawn.hidden) < 30
    assert after.histories == {user: events for user, events in drawn.visible.histories.items() if events}
    assert after.items.keys() == before.items.keys()
    assert f"{len(drawn.hidden)} of 60 items are hidden" in ended.out


def test_pictures_are_linked_and_summaries_of_users_left_out(tastestream: Run, tmp_path: Path) -> None:
    source, out = shop(tmp_path / "shop"), tmp_path / "known"
    assert tastestream("data", "hide-items", str(source), str(out), *SHARE).code == 0
    assert (out / "images/a.png").samefile(source / "images/a.png")
    first = json.loads((out / "items.jsonl").read_text().splitlines()[0])
    assert (first["image"], first["brand"]) == ("a.png", "Acme")
    assert read_dataset(out).items["i0"].summary == "A square."
    assert not (out / "summaries.jsonl").exists()
    assert json.loads((out / "hidden.json").read_text()) == {
        "source": "shop",
        "cold_share": 0.3,
        "seed": 4,
        "drop_items": False,
    }


def test_hidden_items_leave_the_catalogue_on_request(tastestream: Run, tmp_path: Path) -> None:
    source, out = shop(tmp_path / "shop"), tmp_path / "known"
    assert tastestream("data", "hide-items", str(source), str(out), *SHARE, "--drop-items").code == 0
    before, after = read_dataset(source), read_dataset(out)
    hidden = make_retrieval_cases(before, RetrievalProtocol(cold_share=0.3, seed=4)).hidden
    assert after.items.keys() == before.items.keys() - hidden


def test_the_source_is_not_replaced(tastestream: Run, tmp_path: Path) -> None:
    source = shop(tmp_path / "shop")
    ended = tastestream("data", "hide-items", str(source), str(source), "--force")
    assert ended.code == 1
    assert "holds the source" in ended.err
    ended = tastestream("data", "hide-items", str(source), str(tmp_path))
    assert "is not empty" in ended.err
