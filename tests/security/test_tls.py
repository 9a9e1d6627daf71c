"""Whoever the service connects to by TLS has to prove who it is: servers of models and pictures, and Redis."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from model_store.engine.client import VllmClient
from model_store.engine.errors import EngineError
from service.errors import BadPicture, StateUnavailable
from service.pictures.fetch import PictureFetcher
from service.settings import Settings
from service.settings.pictures import PictureSettings
from service.state.store import Store


def self_signed(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that nobody vouches for, in one file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "self")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file = folder / "self.pem"
    file.write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain) + certificate.public_bytes(encoding)
    )
    return file


@asynccontextmanager
async def impostor(folder: Path) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A TLS server without a certificate that anyone trusts: its port, and what it was sent in confidence."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(self_signed(folder))
    said: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said.append(await reader.read(1))
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1], said


async def fetch(port: int) -> None:
    settings = PictureSettings(allow_private_addresses=True, fetch_ports=(port,))
    fetcher = PictureFetcher(settings)
    try:
        await fetcher.fetch(f"https://127.0.0.1:{port}/a.png", again=True)
    finally:
        await fetcher.close()


async def score(port: int) -> None:
    client = VllmClient(f"https://127.0.0.1:{port}", connect_timeout_s=10.0, max_concurrent_calls=1, api_key="secret")
    try:
        await client.post("/score", {})
    finally:
        await client.close()


async def read(port: int) -> None:
    store = Store(Settings(redis_url=f"rediss://:secret@127.0.0.1:{port}"))
    try:
        await store.users.read("u")
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("use", "error"),
    [(fetch, BadPicture), (score, EngineError), (read, StateUnavailable)],
    ids=["picture", "vllm", "redis"],
)
async def test_a_server_that_proves_nothing_is_sent_nothing(
    tmp_path: Path, use: Callable[[int], Awaitable[None]], error: type[Exception]
) -> None:
    async with impostor(tmp_path) as (port, said):
        with pytest.raises(error):
            await use(port)
    assert said == []
