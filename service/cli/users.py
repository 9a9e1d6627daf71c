"""`tastestream erase`: forget a user, and have Redis forget it on disk, too."""

from service.cli.reach import reached_store
from service.cli.terminal import confirm, err, say
from service.settings import Settings
from service.state.users import Erased

REWRITE_S = 3600.0


async def erase_command(settings: Settings, user_id: str, *, rewrite: bool, yes: bool) -> None:
    """Erase the user and print what there was.

    Raises:
        StateUnavailable: Redis did not answer; or the user was erased, but not all files were rewritten.
    """
    async with reached_store(settings) as store:
        confirm(f"Erase everything of {user_id!r} for good?", yes)
        say(_sentence(await store.users.erase(user_id)))
        if not rewrite:
            return
        with err.status("rewriting the append-only files ..."):
            done, without = await store.append_only.rewrite(REWRITE_S)
    say(f"rewritten: the append-only files of {done:,} servers" + (f"; {without:,} keep none" if without else ""))


def _sentence(erased: Erased) -> str:
    if not erased.anything:
        return "there was nothing of this user"
    counted = [
        "the summary" if erased.summary else "no summary",
        f"{erased.pending:,} pending events",
        f"{erased.letters:,} dead letters",
        f"{erased.logged:,} logged events",
    ]
    return f"erased: {', '.join(counted)}, the recents and all else"
