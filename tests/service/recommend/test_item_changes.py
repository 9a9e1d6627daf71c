"""A changed item is scored and described again, and a deleted one is found nowhere: in the gateway, at once."""

from typing import Any

import orjson
import pytest

from service.state.records import ItemClaim
from tests.service.conftest import Gateway
from tests.service.pictures.pictures import encoded, picture
from tests.service.recommend.asking import ASK, fill, ids, recommend, send
from tests.service.serving import ModelServer

RED, BLUE = encoded(picture(colour="red")), encoded(picture(colour="blue"))


async def put(gateway: Gateway, item: str, **fields: Any) -> dict[str, Any]:
    answer = await gateway.ask("PUT", f"/items/{item}", {"title": f"A {item}", **fields})
    assert answer.status_code in {200, 201}
    body: dict[str, Any] = answer.json()
    return body


async def pictured(gateway: Gateway) -> None:
    for item in ASK["candidates"]:
        await put(gateway, item, image_base64=RED)


async def claim(gateway: Gateway) -> ItemClaim:
    (claimed,) = await gateway.store.descriptions.claim(10)
    return claimed


async def describe(gateway: Gateway, text: str = "seen: {}") -> None:
    """Commit a description of every item that waits for one."""
    descriptions = gateway.store.descriptions
    for claimed in await descriptions.claim(100):
        assert await descriptions.commit(claimed, text.format(claimed.item.title), "describer@1")


async def asked_again(gateway: Gateway, model: ModelServer, **ask: Any) -> str:
    """The documents that the next request has scored, as JSON; "[]" when all scores were cached."""
    before = len(model.requests)
    assert not (await recommend(gateway, **ask))["degraded"]
    documents = [document for request in model.requests[before:] for document in request["documents"]]
    return orjson.dumps(documents).decode()


class TestChanges:
    @pytest.fixture(autouse=True)
    async def _active(self, ranked: Gateway) -> None:
        """Scores are cached only for users with events."""
        await send(ranked, "spoon")

    async def test_a_new_title_is_scored_again_and_nothing_else_is(self, ranked: Gateway, model: ModelServer) -> None:
        await pictured(ranked)
        await describe(ranked)
        await recommend(ranked)
        await put(ranked, "pan", title="A steel skillet")
        documents = await asked_again(ranked, model)
        assert "A steel skillet" in documents
        assert "A tea" not in documents
        assert "A hat" not in documents
        assert await asked_again(ranked, model) == "[]"

    async def test_a_new_picture_is_scored_again_and_nothing_else_is(self, ranked: Gateway, model: ModelServer) -> None:
        await pictured(ranked)
        await recommend(ranked)
        one = orjson.loads(await asked_again(ranked, model, user_id="another"))[1]
        assert (await put(ranked, "pan", image_base64=BLUE))["revision"] == 2
        (other,) = orjson.loads(await asked_again(ranked, model))
        assert "A pan" in orjson.dumps(other).decode()
        assert other["content"][0] != one["content"][0]
        assert await asked_again(ranked, model) == "[]"

    async def test_a_new_description_is_scored_again_and_nothing_else_is(
        self, ranked: Gateway, model: ModelServer
    ) -> None:
        await pictured(ranked)
        await describe(ranked)
        await recommend(ranked)
        await put(ranked, "pan", image_base64=BLUE)
        await recommend(ranked)
        await describe(ranked, "blue as the sea")
        documents = await asked_again(ranked, model)
        assert "A pan" in documents
        assert len(orjson.loads(documents)) == 1

    @pytest.mark.parametrize("change", [{"title": "Another pan"}, {"image_base64": BLUE}])
    async def test_what_was_seen_before_the_change_is_shown_no_more(
        self, ranked: Gateway, model: ModelServer, change: dict[str, Any]
    ) -> None:
        await pictured(ranked)
        await describe(ranked, "red as wine")
        await send(ranked, "pan")
        await recommend(ranked)
        assert "red as wine" in model.requests[-1]["queries"]
        assert (await put(ranked, "pan", **change))["summary"] is None
        assert len(orjson.loads(await asked_again(ranked, model))) == 2
        assert "red as wine" not in model.requests[-1]["queries"]
        assert (await claim(ranked)).item.revision == 2

    @pytest.mark.parametrize("change", [{"title": "Another pan"}, {"image_base64": BLUE}])
    async def test_a_late_description_of_the_previous_revision_changes_nothing(
        self, ranked: Gateway, model: ModelServer, change: dict[str, Any]
    ) -> None:
        descriptions = ranked.store.descriptions
        await put(ranked, "pan", image_base64=RED)
        late = await claim(ranked)
        await put(ranked, "pan", **change)
        await recommend(ranked)
        assert not await descriptions.commit(late, "red as wine", "describer@1")
        assert await asked_again(ranked, model) == "[]"
        anew = await claim(ranked)
        assert not await descriptions.commit(late, "red as wine", "describer@1")
        assert await descriptions.commit(anew, "as it is now", "describer@1")
        assert (await ranked.ask("GET", "/items/pan")).json()["summary"] == "as it is now"

    async def test_a_new_price_does_not_void_the_description(self, ranked: Gateway) -> None:
        await put(ranked, "pan", image_base64=RED, attributes={"price": 3})
        await describe(ranked, "red as wine")
        changed = await put(ranked, "pan", attributes={"price": 4})
        assert (changed["revision"], changed["attributes"], changed["summary"]) == (2, {"price": 4}, "red as wine")
        assert await ranked.store.descriptions.claim(10) == []

    async def test_the_same_item_again_changes_nothing(self, ranked: Gateway, model: ModelServer) -> None:
        await pictured(ranked)
        await describe(ranked)
        await recommend(ranked)
        await pictured(ranked)
        assert await asked_again(ranked, model) == "[]"
        assert await ranked.store.descriptions.claim(10) == []

    async def test_a_refused_picture_leaves_the_one_there_was_with_its_summary(self, ranked: Gateway) -> None:
        before = await put(ranked, "pan", image_base64=RED)
        await describe(ranked, "red as wine")
        after = await put(ranked, "pan", image_base64="%")
        assert (after["picture"], after["summary"], after["revision"]) == (before["picture"], "red as wine", 1)

    async def test_scores_of_a_user_who_liked_a_changed_item_are_not_reused(
        self, ranked: Gateway, model: ModelServer
    ) -> None:
        await fill(ranked, "cup", *ASK["candidates"])
        await send(ranked, "cup")
        await recommend(ranked)
        assert "A cup" in model.requests[-1]["queries"]
        await put(ranked, "cup", title="A golden goblet")
        assert len(orjson.loads(await asked_again(ranked, model))) == 3
        assert "golden goblet" in model.requests[-1]["queries"]


class TestDeletion:
    @pytest.fixture
    async def full(self, ranked: Gateway) -> Gateway:
        """Every item was liked together with every other; `dead` most often."""
        await fill(ranked, "cup", "dead", *ASK["candidates"])
        for _ in range(3):
            await ranked.store.cooccurrence.record(["cup", "dead", *ASK["candidates"]], [])
        await ranked.store.cooccurrence.record(["dead"], [])
        return ranked

    async def delete(self, gateway: Gateway, item: str = "dead") -> None:
        assert (await gateway.ask("DELETE", f"/items/{item}")).status_code == 204

    async def test_neighbours_and_popular_items_do_not_name_it(self, full: Gateway) -> None:
        await send(full, "cup")
        assert "dead" in ids(await recommend(full, candidates=None))
        await self.delete(full)
        assert set(ids(await recommend(full, candidates=None))) == set(ASK["candidates"])
        assert set(ids(await recommend(full, candidates=None, user_id="stranger"))) == {"cup", *ASK["candidates"]}

    async def test_the_catalogue_does_not_list_it(self, full: Gateway) -> None:
        await self.delete(full)
        listed = {item["item_id"] for item in (await full.ask("GET", "/items")).json()["items"]}
        assert listed == {"cup", *ASK["candidates"]}
        assert (await full.ask("GET", "/items/dead")).status_code == 404

    async def test_similar_items_do_not_name_it_and_are_as_many_as_asked_for(self, full: Gateway) -> None:
        await self.delete(full)
        answer = (await full.ask("GET", "/items/cup/similar?k=3")).json()
        assert {item["item_id"] for item in answer["items"]} == set(ASK["candidates"])
        assert (await full.ask("GET", "/items/dead/similar")).status_code == 404

    async def test_by_id_it_is_unknown_also_with_a_cached_score(self, full: Gateway) -> None:
        await recommend(full, candidates=["dead", "tea"])
        await self.delete(full)
        answer = await recommend(full, candidates=["dead", "tea"])
        assert ids(answer) == ["tea"]
        assert answer["skipped"] == [{"item_id": "dead", "reason": "unknown_item"}]

    async def test_prompts_do_not_show_it_among_the_recents(self, full: Gateway, model: ModelServer) -> None:
        await send(full, "dead")
        await recommend(full)
        assert "A dead" in model.requests[-1]["queries"]
        await self.delete(full)
        assert len(orjson.loads(await asked_again(full, model))) == 3
        assert "A dead" not in model.requests[-1]["queries"]

    async def test_put_again_it_is_scored_again(self, full: Gateway, model: ModelServer) -> None:
        await recommend(full, candidates=["dead"])
        await self.delete(full)
        await fill(full, "dead")
        assert "A dead" in await asked_again(full, model, candidates=["dead"])

    async def test_put_again_it_brings_nothing_back(self, full: Gateway, model: ModelServer) -> None:
        await put(full, "dead", image_base64=RED)
        late = await claim(full)
        await full.store.descriptions.release(late)
        await describe(full, "red as wine")
        model.scores = {"dead": 0.9}
        await recommend(full, candidates=["dead"])
        await self.delete(full)
        again = await put(full, "dead", image_base64=RED)
        assert (again["summary"], again["summary_model"]) == (None, None)
        model.scores = {"dead": 0.1}
        answer = await recommend(full, candidates=["dead"], explain=True)
        components = {
            "mllm": pytest.approx(0.1),
            "collaborative": 0.0,
            "popular": 0.0,
            "item_weights": 0.0,
            "item_vectors": 0.0,
            "boost": 1.0,
            "rotation": 1.0,
            "unmet": 0.0,
        }
        assert answer["items"][0]["components"] == components
        assert not await full.store.descriptions.commit(late, "red as wine", "describer@1")
        await send(full, "cup")
        found = (await recommend(full, candidates=None, explain=True))["items"]
        assert [item["components"]["collaborative"] for item in found if item["item_id"] == "dead"] in ([], [0.0])
        similar = (await full.ask("GET", "/items/cup/similar")).json()["items"]
        assert "dead" not in {item["item_id"] for item in similar}


class TestRoom:
    async def test_unknown_ids_do_not_displace_candidates(self, ranked: Gateway) -> None:
        await fill(ranked, "cup", *ASK["candidates"])
        absent = [(f"absent-{number}", 9.0) for number in range(500)]
        await ranked.store.cooccurrence.seed("m@1", [*absent, ("tea", 1), ("pan", 1), ("cup", 1)], [])
        answer = await recommend(ranked, candidates=None, k=4, user_id="stranger")
        assert set(ids(answer)) == {"cup", *ASK["candidates"]}

    async def test_seen_items_do_not_displace_candidates(self, ranked: Gateway) -> None:
        names = [f"i{number}" for number in range(120)]
        await fill(ranked, *names)
        page, _ = await ranked.store.items.page(120)
        for item in page[:60]:
            await send(ranked, item.item_id, "view")
        answer = await recommend(ranked, candidates=None, k=50)
        assert len(answer["items"]) == 50
        assert answer["skipped"] == []


async def test_counts_of_a_deleted_item_are_ignored(gateway: Gateway) -> None:
    await gateway.ask("PUT", "/items/here", {"title": "T"})
    await gateway.store.cooccurrence.seed("m@1", [("gone", 2), ("here", 1)], [])
    answer = await gateway.ask("POST", "/recommend", {"user_id": "u"})
    assert answer.status_code == 200
    assert [item["item_id"] for item in answer.json()["items"]] == ["here"]
