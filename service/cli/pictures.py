"""`tastestream sweep-pictures`, with its progress bars."""

from rich.console import Console
from rich.filesize import decimal

from model_store.errors import UserError
from model_store.progress import stages
from service.cli.reach import reached_store
from service.pictures.store import open_pictures
from service.settings import Settings
from workers.sweep import sweep_pictures


async def sweep_command(settings: Settings, *, dry_run: bool, force: bool, console: Console) -> None:
    """Sweep and print what was removed.

    Args:
        force: also when the catalogue is empty.

    Raises:
        NotReady: no Redis is set.
        StateUnavailable: the catalogue can't be read; nothing was removed.
        UserError: the catalogue is empty, or the picture folder can't be read or written.
    """
    grace_s = settings.pictures.grace_s
    try:
        async with reached_store(settings) as store:
            if not (dry_run or force or await store.items.count()):
                raise UserError(
                    "the catalogue is empty, so that every picture would be removed: is it the Redis whose items the "
                    "pictures are? Give --force to remove them, or --dry-run to count them"
                )
            with stages() as report:
                swept = await sweep_pictures(store, open_pictures(settings), grace_s, dry_run=dry_run, progress=report)
    except OSError as error:
        raise UserError(f"the pictures can't be swept: {error}") from error
    what = "would be removed" if dry_run else "removed"
    console.print(f"{what}: {swept.removed:,} files, {decimal(swept.removed_bytes)}", highlight=False)
    console.print(
        f"kept: {swept.kept:,} files, {swept.young:,} of them in their grace of {grace_s:g} s", highlight=False
    )
