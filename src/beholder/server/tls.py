"""Checks of the two TLS files before anything is loaded; what is wrong is reported at once."""

from __future__ import annotations

import ssl
from pathlib import Path

from beholder.base.errors import UsageError

MISMATCH = "KEY_VALUES_MISMATCH"
"""What OpenSSL calls a key of another certificate."""


def checked(certificate: Path, key: Path) -> tuple[str, str]:
    """Return both paths as uvicorn takes them: a certificate, with those above it if need be, and its private key, in PEM.

    A key with a passphrase is refused: there is nobody to ask for it.
    Raises `UsageError`: path-missing, bad-certificate, bad-certificate-key, wrong-certificate-key.
    """
    for path in (certificate, key):
        if not path.is_file():
            raise UsageError(f"{path} is not there", code="path-missing", hint="both options name PEM files")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        _load_certificate(context, certificate)
        _load_key(context, certificate, key)
    except PermissionError as error:
        hint = "the user that runs the server needs read permission for both files"
        raise UsageError(f"{error.filename or key} may not be read", code="path-missing", hint=hint) from None
    return str(certificate), str(key)


def _load_certificate(context: ssl.SSLContext, certificate: Path) -> None:
    try:
        certificate.open("rb").close()
        context.load_verify_locations(certificate)
    except ssl.SSLError:
        hint = "a certificate begins with -----BEGIN CERTIFICATE-----"
        raise UsageError(f"{certificate} holds no certificate in PEM", code="bad-certificate", hint=hint) from None


def _load_key(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        key.open("rb").close()
        context.load_cert_chain(certificate, key, password=str)  # without it OpenSSL would ask at the terminal
    except ssl.SSLError as error:
        if error.reason == MISMATCH:
            hint = "it has to be the key that the certificate was made with"
            raise UsageError(f"{key} is not the key of {certificate}", code="wrong-certificate-key", hint=hint) from None
        raise UsageError(
            f"{key} holds no private key in PEM that opens without a passphrase",
            code="bad-certificate-key",
            hint=f"openssl pkey -in {key} -out open.pem takes a passphrase off",
        ) from None
