"""Requests to a gateway that follows promotions."""

from collections.abc import Callable
from typing import Any

from service.recommend.rollout import Lineup
from tests.service.conftest import Gateway
from tests.service.recommend.rollout.conftest import CANDIDATES
from tests.service.serving import until

USERS = [f"user-{number}" for number in range(300)]


async def ask(gateway: Gateway, user: str = "u") -> dict[str, Any]:
    answer = await gateway.ask("POST", "/recommend", {"user_id": user, "candidates": CANDIDATES})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def explained(gateway: Gateway, **more: Any) -> dict[str, Any]:
    sent = {"user_id": "u", "candidates": CANDIDATES, "explain": True, **more}
    answer: dict[str, Any] = (await gateway.ask("POST", "/recommend", sent)).json()
    return answer


async def ranked_by(gateway: Gateway, users: list[str]) -> dict[str, tuple[str, str]]:
    answers = [await ask(gateway, user) for user in users]
    return {answer["user_id"]: (answer["model"], answer["policy"]) for answer in answers}


async def followed(gateway: Gateway, condition: Callable[[Lineup], bool]) -> None:
    (rollout,) = {id(one): one for one in _rollouts(gateway)}.values()
    await until(lambda: condition(rollout.lineup))


def _rollouts(gateway: Gateway) -> Any:
    return gateway.app.state.rollouts.values()
