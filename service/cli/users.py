"""`tastestream users`: what is stored about a user."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from service.audit import pseudonym
from service.cli.audit import audited
from service.cli.options import Tenant, Yes
from service.cli.store import opened_store
from service.cli.terminal import confirm, err, say, settings_or_exit
from service.names import DEFAULT_TENANT
from service.settings import Settings

if TYPE_CHECKING:
    from service.state.users import Deleted

app = typer.Typer(no_args_is_help=True, help="Erase a user.")

REWRITE_S = 3600.0


@app.command()
def erase(
    user: Annotated[str, typer.Argument(help="The user's id.")],
    rewrite_aof: Annotated[
        bool, typer.Option("--rewrite-aof", help="Also rewrite Redis's append-only files, and wait until it is done.")
    ] = False,
    tenant: Tenant = DEFAULT_TENANT,
    yes: Yes = False,
) -> None:
    """Erase everything about a user, as `DELETE /users/USER` does, and print what was erased.

    Redis keeps erased data in its append-only file until the file is rewritten, which happens by itself once the file
    has doubled in size. `--rewrite-aof` rewrites it now, on every server of a cluster. Backups and exported datasets
    are not touched.

    Example:

        tastestream users erase user-00001 --rewrite-aof
    """
    asyncio.run(_erase(settings_or_exit(), user, tenant, rewrite=rewrite_aof, yes=yes))


async def _erase(settings: Settings, user_id: str, tenant: str, *, rewrite: bool, yes: bool) -> None:
    async with opened_store(settings, tenant) as store:
        confirm(f"Erase everything about {user_id!r} permanently?", yes)
        with audited("user.erase", target=pseudonym(user_id), tenant=tenant):
            deleted = await store.users.delete(user_id)
        say(_sentence(deleted))
        if not rewrite:
            return
        with err.status("rewriting the append-only files ..."):
            done, without = await store.append_only.rewrite(REWRITE_S)
    say(f"rewrote the append-only files of {done:,} servers" + (f"; {without:,} have none" if without else ""))


def _sentence(deleted: "Deleted | None") -> str:
    if deleted is None:
        return "nothing was stored about this user"
    counted = [
        "the summary" if deleted.summary else "no summary",
        f"{deleted.pending:,} pending events",
        f"{deleted.dead_letters:,} dead letters",
        f"{deleted.logged:,} logged events",
    ]
    return f"erased: {', '.join(counted)}, and all other keys of the user"
