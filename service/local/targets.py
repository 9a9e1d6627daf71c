"""The file from which Prometheus learns what `tastestream up` has started, and on which ports."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import orjson

NAME = "prometheus-targets.json"
"""The file's name in the data folder; deploy/prometheus/prometheus.yml has it too."""
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (nothing listens here)


@contextlib.contextmanager
def targets_written(folder: Path, urls: Mapping[str, str]) -> Iterator[None]:
    """Keep the file in `folder` as long as the processes run, in the format of Prometheus's `file_sd_configs`.

    Args:
        urls: the root of each server by its job, such as `{"gateway": "http://127.0.0.1:8000"}`; the job is called
            `tastestream-gateway` then.
    """
    file = folder / NAME
    groups = [_group(job, url) for job, url in urls.items()]
    # Prometheus reads the file whenever it changes: it must never see a part of it.
    new = file.with_suffix(".new")
    new.write_bytes(orjson.dumps(groups, option=orjson.OPT_INDENT_2))
    new.replace(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def address(host: str, port: int) -> str:
    """The URL at which a server of this machine answers that listens on `host`."""
    host = _ANY_ADDRESS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _group(job: str, url: str) -> dict[str, object]:
    root = urlsplit(url)
    port = root.port or {"https": 443}.get(root.scheme, 80)
    host = f"[{root.hostname}]" if ":" in (root.hostname or "") else root.hostname
    labels = {
        "job": f"tastestream-{job}",
        "__scheme__": root.scheme,
        "__metrics_path__": f"{root.path.rstrip('/')}/metrics",
    }
    return {"targets": [f"{host}:{port}"], "labels": labels}
