"""An HTTP service in this process that ranks by the rules of a test."""

import base64
from collections.abc import Callable
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Components = Callable[[str, str], dict[str, float | None]]


class FakeService:
    """Stores what it receives. Reading a user folds two of its events; pictures are described by the second listing.

    Args:
        components: (user, item) -> the components of a score; items are ranked by their sum.
    """

    def __init__(self, components: Components) -> None:
        self.components = components
        self.items: dict[str, dict[str, Any]] = {}
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.folded: dict[str, int] = {}
        self.asked: list[dict[str, Any]] = []
        self.received = 0
        self.busy = 0
        self.full = 0
        self.folds = 2
        self.degraded: set[str] = set()
        self.describes = True
        self.loses = ""
        self.refuses = ""
        self.keys: set[str] = set()
        routes = [
            Route("/items", self.list_items, methods=["GET"]),
            Route("/items", self.put_items, methods=["POST"]),
            Route("/events", self.post_events, methods=["POST"]),
            Route("/recommend", self.recommend, methods=["POST"]),
            Route("/users/{user_id:path}", self.read_user, methods=["GET"]),
            Route("/users/{user_id:path}", self.delete_user, methods=["DELETE"]),
        ]
        self.transport = httpx.ASGITransport(Starlette(routes=routes))

    async def list_items(self, request: Request) -> Response:
        self.keys.add(request.headers.get("authorization", ""))
        start = int(request.query_params.get("cursor", 0))
        listed = list(self.items.values())
        page = [dict(item) for item in listed[start : start + 7]]
        for item in listed if self.describes else ():
            item["summary"] = "seen" if item["picture"] else None
        following = str(start + 7) if start + 7 < len(listed) else None
        return JSONResponse({"items": page, "next_cursor": following})

    async def put_items(self, request: Request) -> Response:
        rejected = []
        items = await request.json()
        self.received += len(items)
        for index, item in enumerate(items):
            if "refuse" in item["title"]:
                rejected.append({"index": index, "code": "invalid_request", "detail": "title: too rude"})
                continue
            picture = item.pop("image_base64", None)
            if unknown := item.keys() - {"item_id", "title", "description", "genres", "tags"}:
                detail = f"{min(unknown)}: no such field"
                rejected.append({"index": index, "code": "invalid_request", "detail": detail})
                continue
            content = base64.b64decode(picture).decode() if picture else None
            self.items[item["item_id"]] = item | {"picture": content, "picture_error": None, "summary": None}
        return JSONResponse({"rejected": rejected, "accepted": len(items) - len(rejected), "duplicates": 0}, 202)

    async def post_events(self, request: Request) -> Response:
        if self.busy:
            self.busy -= 1
            problem = {"code": "overloaded", "detail": "too many requests"}
            return JSONResponse(problem, 429, headers={"Retry-After": "0"})
        events = await request.json()
        taken = len(events)
        if self.full:
            self.full, taken = 0, 2
        for event in events[:taken]:
            self.events.setdefault(event["user_id"], []).append(event)
        detail = {"code": "backlog_full", "detail": "full"}
        rejected = [{"index": index} | detail for index in range(taken, len(events))]
        for index, event in enumerate(events[:taken]):
            if event["item_id"] == self.refuses:
                reason = "timestamp: is in the future"
                rejected.append({"index": index, "code": "invalid_request", "detail": reason})
        return JSONResponse({"accepted": taken, "duplicates": 0, "rejected": rejected}, 202)

    async def read_user(self, request: Request) -> Response:
        user = request.path_params["user_id"]
        events = len(self.events.get(user, ()))
        self.folded[user] = min(self.folded.get(user, 0) + self.folds, events)
        summary = {"text": "likes", "version": (self.folded[user] + 1) // 2} if self.folded[user] else None
        return JSONResponse({"summary": summary, "pending_events": events - self.folded[user]})

    async def delete_user(self, request: Request) -> Response:
        self.events.pop(request.path_params["user_id"])
        return Response(status_code=204)

    async def recommend(self, request: Request) -> Response:
        asked = await request.json()
        self.asked.append(asked)
        known = [item for item in asked["candidates"] if item in self.items and item != self.loses]
        rows = [(item, self.components(asked["user_id"], item)) for item in known]
        rows.sort(key=lambda row: -sum(value or 0.0 for value in row[1].values()))
        items = [
            {"item_id": item, "score": 0.5, "rank": rank, "components": parts}
            for rank, (item, parts) in enumerate(rows, 1)
        ]
        degraded = asked["user_id"] in self.degraded
        skipped = [{"item_id": item, "reason": "unknown_item"} for item in asked["candidates"] if item not in known]
        answer = {"items": items, "skipped": skipped, "model": "fake@1", "degraded": degraded}
        return JSONResponse(answer | {"degraded_reason": "ranker_timeout" if degraded else None})
