"""`tastestream models add|compare|gc`: what versions the model store has."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer

from model_store.errors import UserError
from model_store.registry.comparison import Row, compare, flatten
from model_store.registry.evaluations import Evaluations
from model_store.registry.garbage import unused
from model_store.registry.manifest import MANIFEST, Manifest, ManifestError
from model_store.registry.register import ITEM_MODEL_FIELDS, register_checkpoint, register_version
from model_store.registry.registry import Registry
from service.cli.audit import audited
from service.cli.model_store import own_store, store_of
from service.cli.options import ModelStore, Yes
from service.cli.terminal import print_table, say

_AGE = re.compile(r"(\d{1,4})([dh])")
_NO_PROBE = (
    "it has no probe: gateways check the model id of its server, not the scores. `tastestream models probe` adds one: "
    'docs/models.md, "Versions without a probe"'
)


def add(
    folder: Annotated[Path, typer.Argument(help="A merged checkpoint, or a version's folder with its manifest.")],
    name: Annotated[str | None, typer.Option(help="The model's name.", show_default="that of the manifest")] = None,
    role: Annotated[Literal["ranker", "summarizer"], typer.Option(help="What a checkpoint does.")] = "ranker",
    prompts: Annotated[
        str | None, typer.Option(help="`compact`, `default`, or a folder of templates.", show_default="those of --like")
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help="A version whose prompts, blend, signals and limits the checkpoint has.",
            show_default=False,
        ),
    ] = None,
    base: Annotated[str, typer.Option(help="What the weights were fine-tuned from.", show_default=False)] = "",
    labels: Annotated[str, typer.Option(help="A ranker's tokens for yes and no.")] = "yes,no",
    store: ModelStore = None,
) -> None:
    """Check a folder and register it as the next version of a model.

    FOLDER is a checkpoint that vLLM can load (config.json, tokenizer.json, *.safetensors), whose prompts are named by
    --prompts or --like, or the folder of a version that was copied from another store (manifest.toml, prompts/,
    weights/).

    A copied version keeps its probe, the score that a server must repeat. A checkpoint gets none, because its weights
    are not run here: `models probe` adds one.

    Example:

        tastestream models add merged --name shop-ranker --prompts default --base Qwen/Qwen3-VL-2B-Instruct
    """
    registry = own_store(store)
    if not folder.is_dir():
        raise ManifestError(f"{folder} is not a folder")
    with audited("model.add", folder=str(folder), store=registry.root) as fields:
        if (folder / MANIFEST).is_file():
            if prompts or like:
                raise typer.BadParameter("--prompts and --like are for checkpoints; this folder has a manifest")
            manifest = register_version(registry, folder, name=name)
        else:
            manifest = _checkpoint(registry, folder, name, role, prompts, like, base, labels, store)
        fields["version"] = manifest.id
    say(f"registered {manifest.id} in {registry.root}: {manifest.training.parameters:,} parameters")
    if manifest.role == "ranker" and manifest.probe is None:
        say(_NO_PROBE)
    say(f"next: tastestream models serve {manifest.id}")


def _checkpoint(
    registry: Registry,
    folder: Path,
    name: str | None,
    role: Literal["ranker", "summarizer"],
    prompts: str | None,
    like: str | None,
    base: str,
    labels: str,
    store: str | None,
) -> Manifest:
    if name is None:
        raise typer.BadParameter("a checkpoint needs --name")
    yes, comma, no = labels.partition(",")
    if not (yes and comma and no) or yes == no:
        raise typer.BadParameter("--labels are two different tokens, such as yes,no")
    model = None
    if like is not None:
        source = store_of(like, store)
        model = source.get(like)
        if source.root != registry.root:
            # Paths in a manifest are relative to its own store.
            model = model.model_copy(update={"cooccurrence": "", **dict.fromkeys(ITEM_MODEL_FIELDS, "")})
            prompts = prompts or str(source.prompts(model).folder)
    return register_checkpoint(
        registry, folder, name=name, role=role, prompts=prompts, like=model, base=base, labels=(yes, no)
    )


def compare_versions(
    first: Annotated[str, typer.Argument(metavar="A", help="`NAME@1`, `NAME@production`, or `NAME`.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The other version.")],
    store: ModelStore = None,
) -> None:
    """Print two versions side by side: what differs in their manifests, and the results of their evaluations.

    Example:

        tastestream models compare shop-ranker@production shop-ranker@canary
    """
    registries = (store_of(first, store), store_of(second, store))
    one, other = (registry.get(version) for registry, version in zip(registries, (first, second), strict=True))
    first_results, second_results = (
        Evaluations(registry.root).latest(manifest) for registry, manifest in zip(registries, (one, other), strict=True)
    )
    differing, results = compare(one, other, (first_results, second_results))
    say("what differs")
    _print_rows(differing, one.id, other.id)
    say("")
    say("evaluation" if results else "neither has been evaluated")
    _print_rows(results, one.id, other.id)
    if results and dict(flatten(one.training.model_dump())).get("data") != other.training.data:
        say("they were trained on different data: results of different cases can't be compared")


def _print_rows(rows: list[Row], first: str, second: str) -> None:
    if rows:
        print_table(rows, "", first, second, "difference")


def gc(
    older_than: Annotated[str, typer.Option(help="Only versions of at least this age: `30d`, `12h`.")] = "30d",
    yes: Yes = False,
    store: ModelStore = None,
) -> None:
    """Remove old versions that nothing needs. Without --yes, they are only listed.

    Kept are versions that an alias names or can be rolled back to, the newest of each model, and those whose weights
    another version shares. A version that only settings name (`TASTESTREAM_RANKER__VERSION=NAME@3`) is not seen:
    promote it to an alias first.

    Example:

        tastestream models gc --older-than 90d
    """
    if (age := _AGE.fullmatch(older_than)) is None:
        raise typer.BadParameter(f"--older-than {older_than!r}: a duration such as 30d or 12h")
    registry = own_store(store)
    found = unused(registry, timedelta(**{"days" if age[2] == "d" else "hours": int(age[1])}))
    if not found:
        say(f"nothing to remove in {registry.root}")
        return
    print_table(
        ((one.manifest.id, str(one.manifest.created), f"{one.size / 2**20:,.1f} MiB") for one in found),
        *("version", "registered", "size"),
    )
    if not yes:
        say("nothing was removed; remove them with --yes")
        return
    for one in found:
        with audited("model.remove", version=one.manifest.id, store=registry.root):
            registry.remove(one.manifest)
    say(f"removed {len(found)} versions, {sum(one.size for one in found) / 2**20:,.1f} MiB")


def parse_share(text: str) -> float:
    """A share of the users, `10%` or `0.1`.

    Raises:
        UserError: neither of the two, or not in 0..1.
    """
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UserError(f"--share {text!r}: a share of the users, such as 10% or 0.1")
    return share
