"""`explain` names the source of each item."""

from typing import get_args

from service.recommend.schemas import SourceName
from service.settings.recommend import RecommendSettings
from tests.service.conftest import OpenGateway
from tests.service.recommend.asking import fill, recommend, send


async def test_each_item_names_the_source_that_found_it(open_gateway: OpenGateway) -> None:
    settings = RecommendSettings(new_items_share=0, deadline_ms=30_000)
    async with open_gateway(recommend=settings) as gateway:
        await fill(gateway, "tea", "pot", "hat", "pan", "cup")
        cooccurrence = gateway.store.cooccurrence
        await cooccurrence.record(["tea", "pot"], [])
        await cooccurrence.record(["hat"], [])
        await send(gateway, "tea")
        answer = await recommend(gateway, candidates=None, explain=True)
        found = {item["item_id"]: item["source"] for item in answer["items"]}
        assert found == {"pot": "cooccurrence", "hat": "popular", "pan": "catalogue", "cup": "catalogue"}
        filtered = await recommend(gateway, candidates=None, explain=True, filters={"genres": ["genre of pan"]})
        assert [(item["item_id"], item["source"]) for item in filtered["items"]] == [("pan", "by_term")]
        given = await recommend(gateway, candidates=["pot", {"item_id": "none", "title": "T"}], explain=True)
        assert [item["source"] for item in given["items"]] == ["given", "given"]
        plain = await recommend(gateway, candidates=None)
        assert not any("source" in item for item in plain["items"])


async def test_the_openapi_page_lists_all_sources(open_gateway: OpenGateway) -> None:
    async with open_gateway() as gateway:
        schemas = (await gateway.ask("GET", "/openapi.json")).json()["components"]["schemas"]
    assert schemas["ExplainedItem"]["properties"]["source"]["enum"] == list(get_args(SourceName))
