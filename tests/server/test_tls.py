"""TLS: a handshake and an answer, and files that are wrong are said to be so before anything is served."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from tests.server.fakes import GREEN, picture, served

import beholder
from beholder.cli.run import run

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="the command openssl is not there to make certificates")


def made(folder: Path, name: str) -> tuple[Path, Path]:
    """Return a certificate for localhost that signs itself, and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    words = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*words, *names, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True, timeout=60)
    return certificate, key


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return made(tmp_path_factory.mktemp("tls"), "own")


def test_a_real_handshake_and_an_answer(own: tuple[Path, Path]) -> None:
    certificate, key = own
    with served(certificate=(str(certificate), str(key))) as at:
        connection = HTTPSConnection("localhost", at.port, timeout=20, context=ssl.create_default_context(cafile=certificate))
        connection.request("POST", "/predict", picture(GREEN), {"Origin": f"https://localhost:{at.port}"})
        assert connection.sock.version() in ("TLSv1.2", "TLSv1.3")
        reply = connection.getresponse()
        assert reply.status == 200
        assert b'"label": "green"' in reply.read()
        connection.close()
        with beholder.Client(f"https://127.0.0.1:{at.port}", certificate=certificate) as client:
            assert client(picture(GREEN)).label == "green"
        with (
            pytest.raises(beholder.base.errors.MachineError, match="does not answer"),
            beholder.Client(f"https://127.0.0.1:{at.port}") as stranger,  # nobody told it to trust this certificate
        ):
            stranger.models()
        assert b"HTTP/1.1 200" not in at.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", timeout=1)


def test_files_that_do_not_fit_are_said_to_be_so(
    own: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    certificate, key = own
    _, other = made(tmp_path, "other")
    locked, nonsense = tmp_path / "locked.key", tmp_path / "nonsense.pem"
    subprocess.run(
        ["openssl", "pkey", "-in", str(key), "-aes256", "-passout", "pass:secret", "-out", str(locked)], check=True, timeout=60
    )
    nonsense.write_bytes(b"\0nothing of the kind")
    for given, word in (
        ((certificate, other), f"{other} is not the key of {certificate}"),
        ((nonsense, key), f"{nonsense} holds no certificate"),
        ((key, certificate), f"{key} holds no certificate"),
        ((certificate, nonsense), f"{nonsense} holds no private key"),
        ((certificate, certificate), f"{certificate} holds no private key"),
        ((certificate, locked), "passphrase"),
        ((certificate, tmp_path / "none.key"), "none.key is not there"),
        ((tmp_path, key), f"{tmp_path} is not there"),
        ((certificate, None), "TLS needs both files"),
        ((None, key), "TLS needs both files"),
    ):
        named = zip(("--certificate", "--certificate-key"), given, strict=True)
        options = [word for name, path in named if path is not None for word in (name, str(path))]
        assert run(["serve", "a.beholder", "--port", "0", *options]) == 2
        said = capfd.readouterr().err
        assert said.startswith("error: ") and word in said and "\n\nhint: " in said, said  # noqa: PT018
        assert "Traceback" not in said
