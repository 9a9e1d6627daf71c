"""A real Prometheus with our rules watches a real Tastestream under load: no query is blind, each fault has its alert.

The rules run on a shorter clock, see `compressed`.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import httpx
import pytest

from model_store.demo import MODELS
from model_store.registry.registry import Registry
from model_store.serving.launch import VllmServer, free_port
from tests.deploy.dashboards import VARIABLES, PanelQuery, all_queries
from tests.deploy.prometheus import RULE_FILES, rules
from tests.deploy.promql import selectors_of
from tests.observe import compressed
from tests.observe.prometheus import Prometheus, require_prometheus, wait_for
from tests.observe.stack import SHADOW, Stack, running_stack
from tests.observe.traffic import Traffic
from tests.vllm_servers import START_S, ServedModel

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1200)]
INTERVAL_S, WINDOW = 1.0, "15s"
PATIENCE_S = 300.0
SETTINGS = {
    # Gateways say within an interval that Redis does not answer.
    "STATE__REDIS_TIMEOUT_S": "0.6",
    "STATE__MAX_WAIT_S": "1",
    # When the ranker hangs, recommendations find no place at it.
    "RECOMMEND__MAX_CONCURRENT_RANKS": "1",
    # A picture that can't be fetched is a dead letter at once.
    "PICTURES__FETCH_ATTEMPTS": "1",
    "PICTURES__SWEEP_EVERY_S": "5",
    "PICTURES__GRACE_S": "5",
}


@dataclass(frozen=True)
class Observed:
    """What runs, and what watches it."""

    stack: Stack
    ranker: VllmServer
    prometheus: Prometheus

    def fires(self, *alerts: str) -> None:
        """Wait until all of these alerts fire."""
        wait_for(lambda: set(alerts) <= self.prometheus.firing(), PATIENCE_S, lambda: f"{alerts}: {self._states()}")

    def is_silent(self, *alerts: str) -> None:
        """Wait until none of these alerts fires."""
        wait_for(lambda: not set(alerts) & self.prometheus.firing(), PATIENCE_S, lambda: f"{alerts}: {self._states()}")

    def _states(self) -> dict[str, str]:
        return {rule["name"]: rule["state"] for rule in self.prometheus.rules() if rule["type"] == "alerting"}


@pytest.fixture(scope="module")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    """A ranker that these tests may stop and kill."""
    require_prometheus()
    registry = Registry(MODELS)
    manifest = registry.get("demo-ranker")
    weights, prompts = registry.local_folder(manifest), registry.templates(manifest)
    server = VllmServer(manifest, weights, prompts, tmp_path_factory.mktemp("ranker") / "vllm.log", also=[SHADOW])
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(server.start())
        try:
            yield server
        finally:
            runner.run(server.stop())


@pytest.fixture(scope="module")
def observed(
    ranker: VllmServer, summarizer_server: ServedModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Observed]:
    """The service under load, watched with the rules on the shorter clock."""
    wait_for(lambda: _healthy(ranker.url), START_S)
    folder, watching = tmp_path_factory.mktemp("stack"), tmp_path_factory.mktemp("prometheus")
    files = [compressed.rule_file(file, watching) for file in RULE_FILES]
    urls = {"ranker_url": ranker.url, "summarizer_url": summarizer_server.url}
    with (
        running_stack(folder, **urls, settings=SETTINGS) as stack,
        Prometheus(watching, stack.targets, files, INTERVAL_S) as prometheus,
    ):
        wait_for(lambda: all(_healthy(url, "/readyz") for url in stack.gateways), START_S)
        traffic = Traffic(stack.gateways, stack.picture_url, stack.encoder_url, visits_per_s=3.0, deadline_ms=4000)
        traffic.load()
        with traffic.running():
            yield Observed(stack, ranker, prometheus)


def _healthy(url: str, path: str = "/health") -> bool:
    try:
        return httpx.get(f"{url}{path}", timeout=5.0, trust_env=False).is_success
    except httpx.TransportError:
        return False


class Pause:
    """Stops a process (SIGSTOP) within a `with`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def __enter__(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGCONT)


def test_work_that_is_given_up_fires_dead_letters(observed: Observed) -> None:
    # The alert compares with what was seen before.
    wait_for(lambda: observed.prometheus.query("tastestream:dead_letters:max"), PATIENCE_S)
    observed.is_silent("TastestreamDeadLetters")
    item = {"title": "A picture of nowhere", "image_url": f"http://127.0.0.1:{free_port()}/picture.png"}
    answer = httpx.put(f"{observed.stack.gateway.url}/items/nowhere", json=item, timeout=60.0, trust_env=False)
    assert answer.is_success, answer.text
    observed.fires("TastestreamDeadLetters")


@dataclass(frozen=True)
class Hang:
    """What hangs, the alert that names this cause, and alerts that tell of its effects."""

    pid: Callable[[Observed], int]
    alert: str
    effects: tuple[str, ...] = ()


HANGS = {
    "ranker": Hang(lambda found: found.ranker.pid, "TastestreamRankerDown", ("TastestreamRecommendBudgetBurn",)),
    "worker": Hang(lambda found: found.stack.worker.pid, "TastestreamWorkersGone"),
    "redis": Hang(lambda found: found.stack.redis.pid, "TastestreamRedisDown"),
}


@pytest.mark.parametrize("hang", HANGS.values(), ids=HANGS)
def test_a_process_that_hangs_fires_its_alert_until_it_goes_on(observed: Observed, hang: Hang) -> None:
    observed.is_silent(hang.alert)
    with Pause(hang.pid(observed)):
        observed.fires(hang.alert, *hang.effects)
    observed.is_silent(hang.alert)


def test_no_query_of_a_panel_is_without_data(observed: Observed) -> None:
    left = list(all_queries())
    variables = VARIABLES | {"__rate_interval": WINDOW}

    def has_data(query: PanelQuery) -> bool:
        shorter = replace(query, expr=compressed.query(query.expr))
        return bool(observed.prometheus.query(shorter.with_variables(variables)))

    def none_left() -> bool:
        left[:] = [query for query in left if not has_data(query)]
        return not left

    wait_for(none_left, PATIENCE_S, lambda: "\n".join(map(str, left)))


OF_AN_EMBEDDER = {"tastestream:embedding_items:max"}
"""Recorded series that only a service with an embedder has; this one has none."""


def test_every_rule_is_evaluated_and_every_recorded_series_has_data(observed: Observed) -> None:
    names = {rule["record"] for rule in rules("record")} - OF_AN_EMBEDDER
    wait_for(lambda: all(observed.prometheus.query(name) for name in names), PATIENCE_S)
    unwell = {rule["name"]: rule.get("lastError") for rule in observed.prometheus.rules() if rule["health"] != "ok"}
    assert unwell == {}


BEGIN_WITH_THE_FIRST = {
    # Of the reasons for which a recommendation is degraded, those that have not occurred have no series.
    "TastestreamRankerShedding",
    # It reads `OF_AN_EMBEDDER`.
    "TastestreamVectorsWaiting",
}
"""Alerts that read a series which there may be none of, and the reason."""


def test_no_alert_is_blind(observed: Observed) -> None:
    read = {(rule["alert"], selector) for rule in rules("alert") for selector in selectors_of(rule["expr"])}
    blind = {(alert, one) for alert, one in read if not observed.prometheus.query(f"last_over_time({one}[1h])")}
    assert {alert for alert, _ in blind} <= BEGIN_WITH_THE_FIRST


def test_a_killed_ranker_fires_its_alerts(observed: Observed) -> None:
    observed.is_silent("TastestreamRankerDown", "TastestreamTargetDown")
    os.kill(observed.ranker.pid, signal.SIGKILL)
    observed.fires("TastestreamRankerDown", "TastestreamTargetDown")
