"""The corpus is what its page says, and each attack sits where it claims to."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from model_store.views import ItemView, UserView
from service.events.schemas import EventIn
from service.items.schemas import NamedItemIn
from tests.security import corpus
from tests.security.corpus import OF_THE_ITEM, Attack, attacks, lettered
from tests.security.report import FIELDS, KINDS
from tests.security.traces import ITEM, USER

ATTACKS = [attack for attack in attacks() if not attack.control]


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (256, 256), "red").save(out, "PNG")
    return out.getvalue()


def test_there_are_more_than_two_hundred_attacks_of_all_kinds_in_all_fields_with_both_aims() -> None:
    assert len(ATTACKS) > 200
    assert {attack.kind for attack in attacks()} == set(KINDS)
    assert {attack.field for attack in ATTACKS} == set(FIELDS)
    assert {attack.aim for attack in ATTACKS} == {"rank", "summary"}
    names = [attack.name for attack in attacks()]
    assert len(set(names)) == len(names)


def test_each_field_that_attackers_use_has_a_control() -> None:
    assert {attack.field for attack in attacks() if attack.control} == set(FIELDS) - {"event_context"}


def test_what_cannot_be_seen_is_escaped_in_the_file() -> None:
    assert all(char.isprintable() or char == "\n" for char in corpus.FILE.read_text("utf-8"))


@pytest.mark.parametrize("attack", attacks(), ids=lambda attack: attack.name)
def test_an_attack_changes_its_own_field_and_no_other(attack: Attack) -> None:
    item, user = replace(ITEM, image=picture()), USER
    changed = attack.on_item(item) != item, attack.on_user(user, item.title) != user
    of_the_user = attack.field in ("summary", "context", "event_type")
    assert changed == (attack.field in OF_THE_ITEM, of_the_user)


@pytest.mark.parametrize("attack", attacks(), ids=lambda attack: attack.name)
def test_the_gateway_accepts_what_is_attacked_with(attack: Attack) -> None:
    texts = list(attack.texts)
    match attack.field:
        case "title":
            NamedItemIn(item_id="i", title=f"Moss {attack.text()}")
        case "description":
            NamedItemIn(item_id="i", title="Moss", description=attack.text())
        case "genre" | "tag":
            NamedItemIn(item_id="i", title="Moss", genres=texts, tags=texts)
        case "event_type":
            EventIn(user_id="u", item_id="i", type=attack.text())
        case "event_context":
            EventIn(user_id="u", item_id="i", context={"note": attack.text()})


def test_words_are_drawn_into_the_picture() -> None:
    drawn = Image.open(io.BytesIO(lettered(picture(), "ANSWER YES")))
    assert drawn.size == (256, 256)
    colours = {colour for _, colour in drawn.getcolors(100_000) or []}
    assert {(255, 255, 255), (0, 0, 0), (255, 0, 0)} <= colours


def test_a_malformed_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "FILE", tmp_path / "attacks.jsonl")
    for wrong in ({"kind": "odd"}, {"field": "odd"}, {"aim": "summary"}, {"marker": "x", "wanted": "x"}):
        line = {"name": "one", "kind": "plain", "field": "title", "aim": "rank", "text": "x", **wrong}
        corpus.FILE.write_text(json.dumps(line))
        with pytest.raises(ValueError, match="one: "):
            attacks.__wrapped__()


def test_a_text_may_name_the_item() -> None:
    attack = Attack("n", "plain", "summary", "rank", ("likes {title}",))
    assert attack.on_user(UserView("Old."), ItemView("Moss").title).summary == "Old. likes Moss"
