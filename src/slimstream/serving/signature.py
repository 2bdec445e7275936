"""The signature of a bundle, as model-signing writes it: hashes of all files, signed with an elliptic key.

It is a DSSE envelope (https://github.com/secure-systems-lab/dsse) around an in-toto statement. model-signing
reads it, too, but asks for Sigstore's client and twenty more packages, which have no place on an edge box.
"""

import json
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from slimstream.core.errors import UserError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

TYPE = b"application/vnd.in-toto+json"
PREDICATE = "https://model_signing/signature/v1.0"


def check_signature(file: Path, signature: bytes, hashes: Mapping[str, str], public_key: Path) -> None:
    """Check that `signature` is that of the private key of `public_key`, and of these files.

    Args:
        file: the bundle, for messages.
        signature: the content of its model.sig.
        hashes: SHA-256 of each signed file by name.
        public_key: a PEM file with a key on the curve P-256, P-384 or P-521.

    Raises UserError when it is not, and when there is no such key.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes as algorithms
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    key = _key(public_key)
    refused = UserError(
        f"{file} is not signed with the private key of {public_key}, or was changed since. Do not use it."
    )
    try:
        envelope = json.loads(signature)["dsseEnvelope"]
        payload, signed = b64decode(envelope["payload"]), b64decode(envelope["signatures"][0]["sig"])
        by_size = {256: algorithms.SHA256(), 384: algorithms.SHA384(), 521: algorithms.SHA512()}
        head = b"DSSEv1 %d %b %d " % (len(TYPE), TYPE, len(payload))
        key.verify(signed, head + payload, ECDSA(by_size[key.curve.key_size]))
        statement = json.loads(payload)
        resources = statement["predicate"]["resources"]
        told = {each["name"]: each["digest"] for each in resources if each["algorithm"] == "sha256"}
        if statement["predicateType"] != PREDICATE or len(resources) != len(told) or told != hashes:
            raise refused
    except (InvalidSignature, ValueError, KeyError, TypeError, IndexError) as error:
        raise refused from error


def _key(file: Path) -> "EllipticCurvePublicKey":
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(file.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"the public key {file} is missing.") from error
    except ValueError as error:
        raise UserError(f"{file} is no public key in PEM.") from error
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.key_size not in (256, 384, 521):
        raise UserError(f"{file} is no key on the curve P-256, P-384 or P-521: docs/edge.md makes one.")
    return key
