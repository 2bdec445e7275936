"""A signature holds for these files and this key. model-signing, which made it, judges the same."""

import json
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from slimstream.bundle.sign import check_key, sign
from slimstream.core.errors import UserError
from slimstream.serving.sealed import FORMAT, MANIFEST, SIGNATURE, Sealed, hashes, write_sealed
from tests.unit.bundle.keys import key_pair, rsa_pair


def signed(folder: Path, key: Path | None) -> Path:
    """A bundle of one file."""
    made = folder / "tank"
    made.mkdir(exist_ok=True)
    (made / "CARD.md").write_text("# tank 3\n")
    _list(made)
    if key:
        sign(made, made / SIGNATURE, key)
    write_sealed(made, folder / "tank.pyz")
    return folder / "tank.pyz"


def _list(made: Path) -> None:
    files = {name: digest for name, digest in hashes(made).items() if name not in (MANIFEST, SIGNATURE)}
    content = {"format": FORMAT, "name": "tank 3", "tags": {}, "files": files}
    (made / MANIFEST).write_text(json.dumps(content))


def judged_by_model_signing(folder: Path, public: Path) -> bool:
    """What its own program says of the unpacked bundle."""
    asked = ["verify", "key", folder, "--signature", folder / SIGNATURE, "--public_key", public]
    return (
        subprocess.run([sys.executable, "-m", "model_signing", *asked], capture_output=True).returncode == 0
    )


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda c: c.name)
def test_the_right_key_opens_and_another_does_not(tmp_path: Path, curve: ec.EllipticCurve) -> None:
    private, public = key_pair(tmp_path, "ours", curve)
    _, other = key_pair(tmp_path, "other", curve)
    file = signed(tmp_path, private)
    assert Sealed(file, public).signed and judged_by_model_signing(tmp_path / "tank", public)
    with pytest.raises(UserError, match=r"not signed with the private key of .*other\.pub"):
        Sealed(file, other)
    assert not judged_by_model_signing(tmp_path / "tank", other)


def test_who_has_no_key_can_change_nothing(tmp_path: Path) -> None:
    """Not even with a manifest that fits."""
    private, public = key_pair(tmp_path, "ours")
    file = signed(tmp_path, private)
    (tmp_path / "tank/CARD.md").write_text("# harmless\n")
    _list(tmp_path / "tank")
    write_sealed(tmp_path / "tank", file)
    assert Sealed(file).read("CARD.md") == b"# harmless\n", "hashes alone do not tell"
    with pytest.raises(UserError, match="or was changed since"):
        Sealed(file, public)
    assert not judged_by_model_signing(tmp_path / "tank", public)


def test_no_changed_byte_of_a_signature_adds_anything(tmp_path: Path) -> None:
    private, public = key_pair(tmp_path, "ours")
    signed(tmp_path, private)
    text = (tmp_path / "tank" / SIGNATURE).read_bytes()
    for broken in (b"", b"{}", b"[]", text[:-9], text.replace(b'"payload": "', b'"payload": "A', 1)):
        (tmp_path / "tank" / SIGNATURE).write_bytes(broken)
        write_sealed(tmp_path / "tank", tmp_path / "tank.pyz")
        if broken != text:
            with pytest.raises(UserError, match="not signed with"):
                Sealed(tmp_path / "tank.pyz", public)


def test_where_a_key_is_named_a_signature_must_be(tmp_path: Path) -> None:
    _, public = key_pair(tmp_path, "ours")
    with pytest.raises(UserError, match="is not signed"):
        Sealed(signed(tmp_path, None), public)
    with ZipFile(tmp_path / "tank.pyz") as archive:
        assert SIGNATURE not in archive.namelist()


def test_keys_of_another_kind_are_refused_in_a_sentence(tmp_path: Path) -> None:
    private, public = key_pair(tmp_path, "ours")
    file = signed(tmp_path, private)
    rsa_private, rsa_public = rsa_pair(tmp_path, "rsa")
    gone = tmp_path / "gone.pem"
    for key, why in ((rsa_public, "no key on the curve"), (private, "no public key"), (gone, "is missing")):
        with pytest.raises(UserError, match=why):
            Sealed(file, key)
    check_key(private)
    for key, why in ((rsa_private, "no key on the curve"), (public, "no private key"), (gone, "is missing")):
        with pytest.raises(UserError, match=why):
            check_key(key)
