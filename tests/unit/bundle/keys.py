"""Key pairs for the tests of signatures."""

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa


def key_pair(folder: Path, name: str, curve: ec.EllipticCurve | None = None) -> tuple[Path, Path]:
    """Files with a private key on `curve` (P-256 by default), and with its public key."""
    return _write(ec.generate_private_key(curve or ec.SECP256R1()), folder, name)


def rsa_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """The same for RSA, which is refused."""
    return _write(rsa.generate_private_key(65537, 2048), folder, name)


def _write(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, folder: Path, name: str) -> tuple[Path, Path]:
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private, public
