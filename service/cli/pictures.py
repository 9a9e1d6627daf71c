"""`tastestream pictures`: the picture folder."""

import asyncio
from typing import Annotated

import typer
from rich.filesize import decimal

from model_store.errors import UserError
from model_store.progress import stages
from service.cli.audit import audited
from service.cli.options import Tenant
from service.cli.store import opened_store
from service.cli.terminal import out, settings_or_exit
from service.names import DEFAULT_TENANT
from service.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Remove stored pictures that no item uses.")


@app.command()
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be removed.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Prune even if the catalogue is empty.")] = False,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Remove stored pictures that no item uses any more, and their soft tokens. Workers do this periodically.

    Pictures younger than `TASTESTREAM_PICTURES__GRACE_S` are kept, since their items may still arrive. A picture folder
    belongs to one Redis: run this command against the Redis that has the items of the pictures.

    Example:

        tastestream pictures prune --dry-run
    """
    settings = settings_or_exit()
    if dry_run:
        asyncio.run(_prune(settings, tenant, dry_run=True, force=force))
        return
    with audited("picture.prune", tenant=tenant) as fields:
        fields["removed"] = asyncio.run(_prune(settings, tenant, dry_run=False, force=force))


async def _prune(settings: Settings, tenant: str, *, dry_run: bool, force: bool) -> int:
    """Returns how many files were removed, or would be."""
    from service.pictures.store import open_pictures
    from service.pictures.tokens import token_folders
    from workers.sweep import sweep_pictures

    grace_s = settings.pictures.grace_s
    try:
        async with opened_store(settings, tenant) as store:
            if not (dry_run or force or await store.items.count()):
                raise UserError(
                    "the catalogue is empty, so every picture would be removed. Is this the Redis with the items of "
                    "the pictures? --force removes them, --dry-run counts them"
                )
            with stages() as report:
                own = settings.of_tenant(tenant)
                pictures = open_pictures(own)
                tokens = token_folders(own, pictures)
                swept = await sweep_pictures(store, pictures, grace_s, tokens=tokens, dry_run=dry_run, report=report)
    except OSError as error:
        raise UserError(f"the pictures can't be pruned: {error}") from error
    what = "would be removed" if dry_run else "removed"
    out.print(f"{what}: {swept.removed:,} files, {decimal(swept.removed_bytes)}", highlight=False)
    out.print(f"kept: {swept.kept:,} files, {swept.young:,} of them younger than {grace_s:g} s", highlight=False)
    return swept.removed
