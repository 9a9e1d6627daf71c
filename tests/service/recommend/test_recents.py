"""How many of a user's last interactions the ranker is shown: the model version says so."""

from pathlib import Path
from typing import Any

import pytest

from model_store.errors import UserError
from model_store.prompts import BUILT_IN
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from service.metrics import Metrics
from service.recommend.ranker import open_ranker
from service.settings import Settings
from service.settings.engines import RankerSettings
from service.settings.state import StateSettings
from tests.service.conftest import PATIENT, OpenGateway
from tests.service.recommend.asking import fill, recommend, send
from tests.service.serving import ModelServer, serving

SHOWN = 2


@pytest.fixture
def ranker(model_store: Path, tmp_path: Path) -> dict[str, Any]:
    """The settings of a version whose prompts show the last two interactions."""
    manifest = Manifest(name="narrow", version=1, role="ranker", prompt_recents=SHOWN)
    Registry(model_store).add(manifest, BUILT_IN / "compact", tmp_path / "weights")
    return {"model": "ranker@1", "version": "narrow@1", "timeout_s": 60.0, "connect_timeout_s": 20.0}


async def test_the_prompt_shows_as_many_recents_as_the_version_says(
    open_ranked: OpenGateway, model: ModelServer, ranker: dict[str, Any]
) -> None:
    async with serving(model.app()) as url, open_ranked(url, ranker=RankerSettings(url=url, **ranker)) as gateway:
        await fill(gateway, "tea", "pan", "hat", "cup", "pot")
        for item in ("cup", "no item", "pot", "tea"):
            await send(gateway, item)
        answer = await recommend(gateway, candidates=["pan", "hat"])
    (asked,) = model.requests
    assert [word in asked["queries"] for word in ("A cup", "A pot", "A tea")] == [False, True, True]
    assert answer["warnings"] == [], "what is not shown is not missed"


async def test_a_version_that_shows_more_than_is_kept_is_refused(model_store: Path, ranker: dict[str, Any]) -> None:
    def settings(recents: int) -> Settings:
        given = RankerSettings(url="http://127.0.0.1:1", **ranker)
        state: StateSettings = PATIENT.model_copy(update={"recents": recents})
        return Settings(ranker=given, model_store=model_store, state=state)

    with pytest.raises(UserError, match=r"narrow@1 show a user's last 2 .* set TASTESTREAM_STATE__RECENTS=2"):
        open_ranker(settings(SHOWN - 1), Metrics())
    opened = open_ranker(settings(SHOWN), Metrics())
    assert opened is not None
    assert opened.recents == SHOWN
    await opened.close()
