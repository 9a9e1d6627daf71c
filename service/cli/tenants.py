"""`tastestream tenants`: the tenants of the service."""

import asyncio
import time
from collections.abc import Iterator
from typing import Annotated

import typer

from model_store.errors import UserError
from model_store.progress import stages
from service.api_keys.file import read_keys
from service.cli.audit import audited
from service.cli.options import Yes
from service.cli.store import with_redis_url
from service.cli.terminal import confirm, print_table, raise_if_interrupted, say, settings_or_exit
from service.names import DEFAULT_TENANT, read_name
from service.settings import Settings
from service.settings.engines import EngineSettings

app = typer.Typer(no_args_is_help=True, help="List tenants, or erase one.")


@app.command("list")
def list_tenants() -> None:
    """List the tenants of the settings: their models, how many items and pending events they have, and their keys.

    Example:

        tastestream tenants list
    """
    settings = settings_or_exit()
    print_table(asyncio.run(_rows(settings)), "tenant", "ranker", "summarizer", "items", "pending events", "keys")


@app.command()
def erase(
    name: Annotated[str, typer.Argument(help="The tenant's name.")],
    force: Annotated[
        bool, typer.Option("--force", help="Also a tenant that is still declared or has keys, so that it can be used.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Erase everything of a tenant: users, events, items, pictures.

    First revoke its keys, remove it from the settings and restart gateways and workers: what they write meanwhile may
    be left. `default` can't be removed from the settings, so it needs `--force`. Redis keeps erased data in its
    append-only file until the file is rewritten. Backups and exported datasets are not touched.

    Example:

        tastestream tenants erase shop
    """
    settings = settings_or_exit()
    try:
        read_name(name)
    except ValueError as error:
        raise UserError(str(error)) from None
    if not force and (reasons := list(_uses(settings, name))):
        raise UserError(f"{name!r} {' and '.join(reasons)}, so it may be in use; --force erases it nevertheless")
    confirm(f"Erase everything of the tenant {name!r} permanently?", yes)
    with audited("tenant.erase", tenant=name) as fields:
        fields["keys"] = asyncio.run(_erase(settings, name))
    say(f"erased {fields['keys']:,} keys of {name}, and its pictures")


async def _rows(settings: Settings) -> list[tuple[str, ...]]:
    from service.state.store import Store

    store = Store(await with_redis_url(settings))
    rows = []
    try:
        for name in settings.tenant_names:
            own, of_tenant = settings.of_tenant(name), store.of(name)
            counts = (await of_tenant.items.count(), await of_tenant.users.backlog(), _live_keys(settings, name))
            rows.append((name, _model(own.ranker), _model(own.summarizer), *(f"{count:,}" for count in counts)))
    finally:
        await store.close()
    return rows


async def _erase(settings: Settings, name: str) -> int:
    """Erase a tenant, and return how many keys it had."""
    from service.state.store import Store

    store = Store(await with_redis_url(settings), tenant=name)
    done = 0
    try:
        total = await store.erasure.count()
        with stages() as report:
            async for erased in store.erasure.erase():
                raise_if_interrupted()
                done += erased
                report("erasing", min(1.0, done / max(1, total)), f"{done:,} keys")
            report("erasing", 1.0, f"{done:,} keys")
    finally:
        await store.close()
    await _remove_pictures(settings, name)
    return done


async def _remove_pictures(settings: Settings, name: str) -> None:
    from service.pictures.store import open_pictures

    # No picture is named by an item any more.
    try:
        async for _ in open_pictures(settings).of(settings.pictures_of(name)).sweep(set(), 0.0, time.monotonic()):
            raise_if_interrupted()
    except OSError as error:
        raise UserError(f"the pictures can't be erased: {error}; run the command again") from error


def _uses(settings: Settings, name: str) -> Iterator[str]:
    """Why a tenant may be in use."""
    if name in settings.tenant_names:
        yield "is declared" if name != DEFAULT_TENANT else "always exists"
    if keys := _live_keys(settings, name):
        yield f"has {keys:,} keys"


def _live_keys(settings: Settings, name: str) -> int:
    """How many keys of the tenant are not revoked."""
    file = settings.api_keys_file
    return sum(key.tenant == name and key.revoked_s is None for key in read_keys(file)) if file else 0


def _model(engine: EngineSettings) -> str:
    return engine.version or engine.model or ""
