"""How a model is asked: describe an item, rewrite a summary, score candidates.

One `Engine` stands for one model on one vLLM server. Prompts, picture size, label tokens and
limits come from the model version (`open_engine`) or from the built-in default prompts.
"""

from model_store.engine.engine import Engine, Mode
from model_store.engine.errors import (
    BadAnswer,
    ConnectionLost,
    EngineError,
    EngineOverloaded,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
    PromptTooLong,
    WrongScores,
)
from model_store.engine.opening import open_engine

__all__ = [
    "BadAnswer",
    "ConnectionLost",
    "Engine",
    "EngineError",
    "EngineOverloaded",
    "EngineRejected",
    "EngineTimeout",
    "EngineUnavailable",
    "Mode",
    "PromptTooLong",
    "WrongScores",
    "open_engine",
]
