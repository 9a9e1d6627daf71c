"""Errors of calls to a model, each with its `code`.

EngineError
├── EngineUnavailable   engine_unavailable   the server failed (5xx)
│   ├── ConnectionLost  engine_unavailable   no connection, or it broke before the answer
│   └── CircuitOpen     engine_open          not asked, because it failed before
├── EngineTimeout       engine_timeout       no answer within the call's time
├── EngineOverloaded    engine_overloaded    the server sheds load (429, 503)
├── EngineRejected      engine_rejected      the request is wrong for this server (4xx)
│   ├── PromptTooLong   prompt_too_long      even the shortest form of the prompt does not fit
│   └── WrongScores     wrong_scores         the server's score of the version's probe differs from the recorded one
└── BadAnswer           answer_empty | answer_too_long | answer_malformed | answer_implausible
"""

from typing import Literal, get_args

_Reason = Literal["empty", "too_long", "malformed", "implausible"]


class EngineError(Exception):
    """Base class; `code` is a stable label for metrics and dead letters."""

    code: str = "engine_error"


class EngineUnavailable(EngineError):
    code = "engine_unavailable"


class ConnectionLost(EngineUnavailable):
    pass


class CircuitOpen(EngineUnavailable):
    code = "engine_open"


class EngineTimeout(EngineError):
    code = "engine_timeout"


class EngineOverloaded(EngineError):
    code = "engine_overloaded"


class EngineRejected(EngineError):
    """`status` is that of the answer, 0 if no request was rejected."""

    code = "engine_rejected"

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class PromptTooLong(EngineRejected):
    code = "prompt_too_long"


class WrongScores(EngineRejected):
    code = "wrong_scores"


class BadAnswer(EngineError):
    """The model's answer can't be used; `reason` says why."""

    code = "bad_answer"

    def __init__(self, reason: _Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.code = f"answer_{reason}"


CODES = (
    *(error.code for error in (EngineUnavailable, EngineTimeout, EngineOverloaded, EngineRejected)),
    *(error.code for error in (CircuitOpen, PromptTooLong, WrongScores)),
    *(f"answer_{reason}" for reason in get_args(_Reason)),
)
"""Every code that an error may have."""
