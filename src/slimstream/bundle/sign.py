"""Signing of a bundle with a private key of one's own, by the package model-signing."""

from pathlib import Path

from slimstream.core.errors import UserError


def check_key(key: Path) -> None:
    """Raise UserError unless `key` is a PEM file with a private key on the curve P-256, P-384 or P-521."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        found = load_pem_private_key(key.read_bytes(), None)
    except FileNotFoundError as error:
        raise UserError(f"the private key {key} is missing: docs/edge.md says how to make one.") from error
    except TypeError as error:
        raise UserError(f"{key} is encrypted, and a password cannot be given: decrypt it first.") from error
    except ValueError as error:
        raise UserError(f"{key} is no private key in PEM.") from error
    if not isinstance(found, EllipticCurvePrivateKey) or found.curve.key_size not in (256, 384, 521):
        raise UserError(f"{key} is no key on the curve P-256, P-384 or P-521: docs/edge.md makes one.")


def sign(folder: Path, signature: Path, key: Path) -> None:
    """Write the `signature` of all files in `folder`; see `check_key`. Nothing is sent anywhere."""
    from model_signing import hashing, signing

    hashed = hashing.Config().set_ignored_paths(paths=[signature], ignore_git_paths=False)
    config = signing.Config().set_hashing_config(hashed)
    config.use_elliptic_key_signer(private_key=key).sign(folder, signature)
