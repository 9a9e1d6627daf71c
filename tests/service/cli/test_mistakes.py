"""After a mistake in a setting, a path or a name, a command ends with one sentence that says what to fix."""

import fcntl
import socket
from pathlib import Path

import pytest

from service.settings import Settings
from tests.service.cli.conftest import Run


def refusal(tastestream: Run, *arguments: str) -> str:
    """The one line that the failing command prints on stderr."""
    ran = tastestream(*arguments)
    assert ran.code in {1, 2}
    assert "Traceback" not in ran.err
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    return ran.err


@pytest.mark.parametrize(
    "url",
    ["host:6379", "http://host", "redis://", "redis://host:port", "redis://:pass/word@host", "unix://", "rediss:x"],
)
def test_an_invalid_redis_url_is_named_without_its_password(
    tastestream: Run, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("TASTESTREAM_REDIS_URL", url)
    said = refusal(tastestream, "dead-letters", "list")
    assert said.startswith("error: TASTESTREAM_REDIS_URL: must be redis://HOST:PORT")
    assert "pass/word" not in said


@pytest.mark.parametrize("content", [None, b"no toml", b"\xff"])
def test_a_settings_file_that_cannot_be_read_is_named(
    tastestream: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "settings.toml"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("TASTESTREAM_CONFIG", str(file))
    assert f"TASTESTREAM_CONFIG: {file}" in refusal(tastestream, "models", "list")


def test_a_group_of_settings_that_is_not_json_is_named(tastestream: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASTESTREAM_STATE", "many")
    assert '"state"' in refusal(tastestream, "models", "list")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://", "http://host:port"])
def test_a_model_server_with_an_invalid_url_is_named(
    tastestream: Run, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("TASTESTREAM_RANKER__MODEL", "ranker")
    monkeypatch.setenv("TASTESTREAM_RANKER__URL", url)
    assert "TASTESTREAM_RANKER__URL: must be the root of a server" in refusal(tastestream, "worker")


def test_a_model_server_without_a_model_is_named(tastestream: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASTESTREAM_SUMMARIZER__URL", "http://host")
    assert "TASTESTREAM_SUMMARIZER: with a URL, MODEL" in refusal(tastestream, "worker")


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("REDIS_URL", None, "no Redis: set TASTESTREAM_REDIS_URL"),
        ("RANKER__VERSION", "none@1", "no model 'none'"),
        ("SUMMARIZER__VERSION", "none@1", "no model 'none'"),
        ("PICTURES__URL", "nosuch://bucket", "pictures can't be kept"),
        ("API_KEYS_FILE", "/nowhere/keys", "/nowhere/keys: No such file"),
        ("API_KEYS_FILE", "/dev/null", "contains no API key"),
    ],
)
def test_a_gateway_names_what_is_missing(
    tastestream: Run, monkeypatch: pytest.MonkeyPatch, setting: str, value: str | None, said: str
) -> None:
    monkeypatch.setattr("service.logs.configure", lambda *, json: None)
    monkeypatch.setenv("TASTESTREAM_PORT", "0")
    for engine in ("RANKER", "SUMMARIZER"):
        monkeypatch.setenv(f"TASTESTREAM_{engine}__URL", "http://127.0.0.1:1")
        monkeypatch.setenv(f"TASTESTREAM_{engine}__MODEL", "model")
    if value is None:
        monkeypatch.delenv(f"TASTESTREAM_{setting}")
    else:
        monkeypatch.setenv(f"TASTESTREAM_{setting}", value)
    assert said in refusal(tastestream, "gateway")


def test_a_picture_folder_of_an_unknown_kind_is_named(tastestream: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASTESTREAM_PICTURES__URL", "nosuch://bucket")
    assert "pictures can't be kept at nosuch://" in refusal(tastestream, "pictures", "prune", "--dry-run")


def test_a_data_folder_that_is_a_file_is_named(
    tastestream: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("TASTESTREAM_DATA_DIR", str(tmp_path / "file"))
    assert "file/logs: Not a directory" in refusal(tastestream, "up", "--port", "0")


def test_a_data_folder_in_use_is_named(tastestream: Run, settings: Settings) -> None:
    settings.data_dir.mkdir()
    with (settings.data_dir / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another `tastestream up`" in refusal(tastestream, "up", "--port", "0")


@pytest.mark.parametrize(
    ("command", "variable"),
    [("gateway", "TASTESTREAM_PORT"), ("worker", "TASTESTREAM_WORKER__METRICS_PORT"), ("up", "--port")],
)
def test_a_port_in_use_is_named_with_how_to_choose_another(
    tastestream: Run, monkeypatch: pytest.MonkeyPatch, command: str, variable: str
) -> None:
    monkeypatch.setattr("workers.run.configure", lambda *, json: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for setting in ("PORT", "WORKER__METRICS_PORT"):
            monkeypatch.setenv(f"TASTESTREAM_{setting}", str(port))
        said = refusal(tastestream, command)
    assert f"127.0.0.1:{port} can't be listened on" in said
    assert said.endswith(f"choose another {variable}.\n")


def test_a_report_that_cannot_be_written_is_reported_before_the_replay(tastestream: Run, tmp_path: Path) -> None:
    missing = tmp_path / "none" / "report.md"
    said = refusal(tastestream, "replay", "--data", str(tmp_path), "--markdown", str(missing))
    assert f"{missing}: No such file or directory" in said


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--k", "10"), "--k means nothing without --retrieve: leave it out"),
        (("--no-wait",), "--no-wait means nothing without --retrieve"),
        (("--cold-share", "0.2"), "--cold-share means nothing without --retrieve"),
        (("--retrieve", "--negatives", "popular"), "--negatives means nothing with --retrieve"),
        (("--retrieve", "--k", "ten"), "--k: 'ten' is not a list of numbers, such as 10,100"),
        (("--retrieve", "--k", "0,10"), "--k: numbers are 1 to 1000"),
    ],
)
def test_options_that_a_replay_would_ignore_are_refused(
    tastestream: Run, tmp_path: Path, options: tuple[str, ...], reason: str
) -> None:
    assert f"error: {reason}" in refusal(tastestream, "replay", "--data", str(tmp_path), *options)


@pytest.mark.parametrize(
    "arguments",
    [("users", "erase", "a\udcff", "--yes"), ("dead-letters", "list", "--user", "a\udcff")],
    ids=["erase", "list"],
)
def test_an_id_that_is_not_utf8_is_named(
    tastestream: Run, monkeypatch: pytest.MonkeyPatch, redis_url: str, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("TASTESTREAM_REDIS_URL", redis_url)
    assert refusal(tastestream, *arguments) == "error: not valid UTF-8: 'a\\udcff'\n"
