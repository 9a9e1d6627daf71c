"""`GET` and `DELETE /users/{user_id}`."""

from fastapi import APIRouter, Request, Response

from service.http.ids import UserPath
from service.http.problems import COMMON_ERRORS, documented
from service.http.tenants import PerTenant
from service.http.wire import Json
from service.state.users import Users
from service.users.schemas import UserOut, user_out

_ERRORS = documented(*COMMON_ERRORS)


def users_router(users: PerTenant[Users]) -> APIRouter:
    """The routes that show and delete users."""
    router = APIRouter(tags=["users"], prefix="/users")

    @router.get("/{user_id}", summary="Get a user", response_model=UserOut, responses=_ERRORS)
    async def get_user(request: Request, user_id: UserPath) -> Response:
        """The summary, the events folded by its last versions, the last interactions, and the number of pending events.

        Empty for an unknown user.
        """
        return Json(user_out(await users.of(request.scope).read(user_id)))

    @router.delete("/{user_id}", summary="Delete a user", status_code=204, response_model=None, responses=_ERRORS)
    async def delete_user(request: Request, user_id: UserPath) -> Response:
        """Delete everything about the user.

        It is gone when the answer arrives, and requests in flight restore nothing.
        """
        await users.of(request.scope).delete(user_id)
        return Response(status_code=204)

    return router
