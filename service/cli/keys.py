"""`tastestream keys`: the API keys of the gateways."""

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from model_store.errors import UserError
from service.api_keys import file as keys_file
from service.api_keys.records import (
    SCOPES,
    ApiKey,
    digest_of,
    new_key,
    read_scopes,
    time_text,
)
from service.cli.audit import audited
from service.cli.options import Yes
from service.cli.store import require_tenant
from service.cli.terminal import confirm, err, print_table, say, settings_or_exit
from service.names import DEFAULT_TENANT, read_name
from service.settings import PREFIX

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")

_DURATION = re.compile(r"([1-9]\d{0,4})([dh])")
_UNITS_S = {"d": 86_400, "h": 3600}

File = Annotated[
    Path | None, typer.Option("--file", help="The keys file.", show_default=f"{PREFIX}API_KEYS_FILE", dir_okay=False)
]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who will use the key, such as `web`.")],
    scope: Annotated[list[str], typer.Option(help=f"What it may do: {', '.join(SCOPES)}. May be given several times.")],
    tenant: Annotated[str, typer.Option(help="Whose users and items it reaches.")] = DEFAULT_TENANT,
    expires: Annotated[
        str | None, typer.Option(help="When it expires: in `90d`, in `12h`, or a date in UTC.", show_default="never")
    ] = None,
    file: File = None,
) -> None:
    """Create a key, print it once, and append its hash to the keys file.

    Several keys may have one name: to rotate a key, create another, move the callers to it, and revoke the old one.

    Example:

        tastestream keys create web --scope events --scope recommend --expires 90d
    """
    now_s = int(time.time())
    secret = new_key()
    try:
        expires_s = None if expires is None else _expiry(expires, now_s)
        key = ApiKey(digest_of(secret), read_name(name), read_name(tenant), read_scopes(scope), now_s, expires_s)
    except ValueError as error:
        raise UserError(str(error)) from None
    require_tenant(settings_or_exit(), key.tenant)
    path = _file(file)
    with audited("key.create", **_fields(key), file=str(path)):
        keys_file.add_key(path, key)
    err.print(f"Created {key.id} for {key.name}. This is the only time that the key is shown:", highlight=False)
    say(secret)


@app.command("list")
def list_keys(file: File = None) -> None:
    """List the keys: id, name, tenant, scopes, and whether they are in force. The keys themselves can't be shown.

    Example:

        tastestream keys list
    """
    now_s = time.time()
    rows = [
        (key.id, key.name, key.tenant, ", ".join(one for one in SCOPES if one in key.scopes), _state(key, now_s))
        for key in keys_file.read_keys(_file(file))
    ]
    print_table(rows, "id", "name", "tenant", "scopes", "state")


@app.command()
def revoke(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids as shown by `list`.", show_default=False)] = None,
    name: Annotated[str | None, typer.Option(help="All keys of this name.", show_default=False)] = None,
    file: File = None,
    yes: Yes = False,
) -> None:
    """Revoke keys. The gateways refuse them within a second or two.

    Example:

        tastestream keys revoke 3f9ac2b81d04
    """
    if bool(ids) == (name is not None):
        raise UserError("give the ids of keys (`tastestream keys list` shows them) or --name")
    path = _file(file)
    wanted = set(ids or ())
    chosen = [
        key for key in keys_file.read_keys(path) if key.revoked_s is None and (key.id in wanted or key.name == name)
    ]
    if missing := wanted - {key.id for key in chosen}:
        raise UserError(f"no such key, or it is revoked: {', '.join(sorted(missing))}")
    if not chosen:
        raise UserError(f"no key of the name {name!r} is left to revoke")
    confirm(f"Revoke {', '.join(f'{key.id} ({key.name})' for key in chosen)} permanently?", yes)
    digests = {key.digest for key in chosen}
    with audited("key.revoke", key_ids=[key.id for key in chosen], file=str(path)):
        revoked = keys_file.revoke_keys(path, lambda key: key.digest in digests)
    for key in revoked:
        say(f"revoked {key.id} ({key.name})")


def _fields(key: ApiKey) -> dict[str, object]:
    scopes = [scope for scope in SCOPES if scope in key.scopes]
    return {"key": key.name, "key_id": key.id, "tenant": key.tenant, "scopes": scopes}


def _file(given: Path | None) -> Path:
    file = given or settings_or_exit().api_keys_file
    if file is None:
        raise UserError(f"set {PREFIX}API_KEYS_FILE, or give --file")
    return file


def _expiry(text: str, now_s: int) -> int:
    """The Unix seconds of a duration from now, or of a date. Raises ValueError if it is neither, or has passed."""
    if duration := _DURATION.fullmatch(text):
        return now_s + int(duration[1]) * _UNITS_S[duration[2]]
    try:
        expires_s = int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise ValueError(
            f"--expires {text!r}: neither a duration such as 90d or 12h nor a date such as 2027-01-31"
        ) from None
    if expires_s <= now_s:
        raise ValueError(f"--expires {text} has passed")
    return expires_s


def _state(key: ApiKey, now_s: float) -> str:
    if key.revoked_s is not None:
        return f"revoked {time_text(key.revoked_s)}"
    if key.expires_s is not None:
        return f"{'expired' if key.expired(now_s) else 'expires'} {time_text(key.expires_s)}"
    return "in plain text, as in earlier versions: replace it" if key.plain else "in force"
