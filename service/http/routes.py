"""Routes that answer for themselves."""

from collections.abc import Callable
from typing import Any

from fastapi.routing import APIRoute
from starlette.routing import request_response


class PlainRoute(APIRoute):
    """FastAPI writes its page, Starlette serves it: the endpoint takes the request and gives the answer.

    For the routes that are asked most: FastAPI's dependencies and exit stacks take longer than a small body.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.app = request_response(endpoint)
