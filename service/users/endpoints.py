"""`GET` and `DELETE /users/{user_id}`."""

from fastapi import APIRouter, Response

from service.http.ids import UserPath
from service.http.problems import COMMON_ERRORS, documented
from service.http.wire import Json
from service.state.users import Users
from service.users.schemas import UserOut, user_out

_ERRORS = documented(*COMMON_ERRORS)


def users_router(users: Users) -> APIRouter:
    """The routes that show and delete users."""
    router = APIRouter(tags=["users"], prefix="/users")

    @router.get("/{user_id}", summary="What is known of a user", response_model=UserOut, responses=_ERRORS)
    async def get_user(user_id: UserPath) -> Response:
        """The living summary and the events its last versions came from, the last interactions, and how many wait.

        Empty for a user nobody has seen.
        """
        return Json(user_out(await users.read(user_id)))

    @router.delete("/{user_id}", summary="Forget a user", status_code=204, response_model=None, responses=_ERRORS)
    async def delete_user(user_id: UserPath) -> Response:
        """Remove everything of the user.

        When the answer comes it is gone, and what was in flight brings nothing back.
        """
        await users.delete(user_id)
        return Response(status_code=204)

    return router
