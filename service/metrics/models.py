"""Series of model versions and of calls to model servers."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import product

from model_store.engine.breaker import State
from model_store.engine.errors import CODES, CircuitOpen
from model_store.engine.observer import Usage
from model_store.engine.replicas import Replicas
from model_store.engine.retry_budget import RetryBudget
from model_store.engine.served_model import ServedModel
from service.logs import get_logger
from service.metrics.declare import Declare

log = get_logger(__name__)
_BINS = tuple(f"0.{tenth}" for tenth in range(10))
_CALLS = {
    "ranker": ("score",),
    "canary": ("score",),
    "shadow": ("score",),
    "summarizer": ("summarize", "describe"),
    "embedder": ("embed",),
}
_MASS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


class ModelSeries:
    def __init__(self, declare: Declare) -> None:
        self.engine_calls = declare.counter(
            "tastestream_engine_calls_total",
            "Calls to a model server by outcome: ok or an error code; engine_open for those that were not made because "
            "the circuit breaker was open.",
            ("engine", "call", "outcome"),
        )
        self.engine_seconds = declare.histogram(
            "tastestream_engine_call_seconds", "Duration of a call to a model server.", ("engine", "call")
        )
        self.llm_tokens = declare.counter(
            "tastestream_llm_tokens_total",
            "Tokens as model servers report them: prompt, cached (those of the prompt that the prefix cache had; "
            "pooling servers do not say), completion.",
            ("engine", "kind"),
        )
        self.scores = declare.counter(
            "tastestream_scores_total",
            "Scores p(yes) that the model gave, without cached ones, by ten equal bins; `bin` is the lower end.",
            ("model", "bin"),
        )
        self.label_mass = declare.histogram(
            "tastestream_label_mass",
            "p(yes) + p(no) at the first answer token; with `ranker.mode` chat only, since pooling servers don't say.",
            ("model",),
            buckets=_MASS,
        )
        self.model_info = declare.gauge(
            "tastestream_model_info",
            "1 for each model version in use, 0 for one that was. `mode` is how it is asked: score, classify, chat, "
            "generate, or embed.",
            ("role", "model", "mode"),
            across="latest",
        )
        self.model_created = declare.gauge(
            "tastestream_model_created_timestamp_seconds",
            "When the model version was made, if its manifest says so; 0 for one that is not in use any more.",
            ("role", "model"),
            across="latest",
        )

        self.breaker_state = declare.gauge(
            "tastestream_breaker_state",
            "Circuit breaker of a model server: 0 closed, 1 half-open (a few calls try whether it is back), 2 open. Of "
            "several servers or processes the worst. `engine` is the ranker, its canary or shadow, the summarizer or "
            "the embedder.",
            ("engine",),
            across="max",
        )
        self.retry_budget = declare.gauge(
            "tastestream_retry_budget_ratio",
            "Share of the budget of retries that is left: 0 when calls to the ranker, the summarizer, the embedder or "
            "redis are not retried any more. Of several processes the smallest.",
            ("engine",),
            across="min",
        )

        # By engine, then by model version and server: tenants may have different ones.
        self.breakers: dict[str, dict[tuple[str, str], State]] = defaultdict(dict)
        self.budgets: dict[str, dict[str, float]] = defaultdict(dict)
        # How many watched engines a version has, and how it is asked.
        self._watched: Counter[tuple[str, str]] = Counter()
        self._modes: dict[tuple[str, str], str] = {}

    def watch_engine(self, engine: ServedModel | Replicas, role: str, mode: str) -> None:
        """Show which model version is asked, count what its answers say about themselves, and show its breakers."""
        self.model_info.labels(role, engine.id, mode).set(1)
        self._watched[role, engine.id] += 1
        self._modes[role, engine.id] = mode
        for call, outcome in product(_CALLS[role], ("ok", "cancelled", *CODES)):
            self.engine_calls.labels(role, call, outcome)
        if engine.manifest and engine.manifest.created:
            self.model_created.labels(role, engine.id).set(engine.manifest.created.timestamp())
        engine.observe(_EngineObserver(self, role, engine.id))

    def forget_engine(self, engine: ServedModel | Replicas, role: str) -> None:
        """A model version is not asked any more on these servers; the worst breaker is one of the others then."""
        self._watched[role, engine.id] -= 1
        states, budgets = self.breakers[role], self.budgets[role]
        for url in engine.urls:
            states.pop((engine.id, url), None)
        self.breaker_state.labels(role).set(max(states.values(), default=State.CLOSED))
        if not self._watched[role, engine.id]:
            self.model_info.labels(role, engine.id, self._modes[role, engine.id]).set(0)
            if engine.manifest and engine.manifest.created:
                self.model_created.labels(role, engine.id).set(0)
            budgets.pop(engine.id, None)
            self.retry_budget.labels(role).set(min(budgets.values(), default=1.0))

    def watch_retries(self, engine: str, retries: RetryBudget) -> None:
        """Show what is left of a budget that is not one of a model server."""
        retries.on_change = self.retry_budget.labels(engine).set
        retries.on_change(retries.left)

    def count_call(self, engine: str, call: str, outcome: str, seconds: float) -> None:
        """Count one call by its outcome, and how long it took if it was made."""
        self.engine_calls.labels(engine, call, outcome).inc()
        if outcome != CircuitOpen.code:
            self.engine_seconds.labels(engine, call).observe(seconds)

    def count_scores(self, model: str, scores: Iterable[float]) -> None:
        """Count fresh scores, each in 0..1, by their bin."""
        for tenth, number in Counter(min(int(score * 10), 9) for score in scores).items():
            self.scores.labels(model, _BINS[tenth]).inc(number)


class _EngineObserver:
    def __init__(self, metrics: ModelSeries, engine: str, model: str) -> None:
        self._prompt, self._cached, self._completion = (
            metrics.llm_tokens.labels(engine, kind) for kind in ("prompt", "cached", "completion")
        )
        self._engine = engine
        self._breaker = metrics.breaker_state.labels(engine)
        self._budget = metrics.retry_budget.labels(engine)
        self._states, self._budgets = metrics.breakers[engine], metrics.budgets[engine]
        self._metrics = metrics
        self._model = model

    def usage(self, usage: Usage) -> None:
        self._prompt.inc(usage.prompt)
        self._cached.inc(usage.cached)
        self._completion.inc(usage.completion)

    def label_mass(self, mass: float) -> None:
        self._metrics.label_mass.labels(self._model).observe(mass)

    def breaker(self, url: str, state: State) -> None:
        server = (self._model, url)
        if self._states.get(server, State.CLOSED) is not state:
            log.warning("circuit_breaker", engine=self._engine, server=url, state=state.name.lower())
        self._states[server] = state
        self._breaker.set(max(self._states.values()))

    def retry_budget(self, left: float) -> None:
        self._budgets[self._model] = left
        self._budget.set(min(self._budgets.values()))
