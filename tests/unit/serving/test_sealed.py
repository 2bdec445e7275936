"""A bundle is used as it was made or not at all."""

import json
import stat
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import pytest

from slimstream.core.errors import UserError
from slimstream.serving.sealed import FORMAT, MANIFEST, Sealed, hashes, write_sealed


def sealed(folder: Path, **content: object) -> Path:
    """A bundle of two files."""
    (folder / "tank/model").mkdir(parents=True)
    (folder / "tank/model/network.onnx").write_bytes(bytes(range(256)))
    (folder / "tank/CARD.md").write_text("# tank 3\n")
    told = {"format": FORMAT, "name": "tank 3", "tags": {"gate": "passed"}, "files": hashes(folder / "tank")}
    (folder / "tank" / MANIFEST).write_text(json.dumps(told | content))
    write_sealed(folder / "tank", folder / "tank.pyz")
    return folder / "tank.pyz"


def test_what_was_put_in_comes_out(tmp_path: Path) -> None:
    bundle = Sealed(file := sealed(tmp_path))
    assert (bundle.name, bundle.tags, bundle.signed) == ("tank 3", {"gate": "passed"}, False)
    assert bundle.read("CARD.md") == b"# tank 3\n"
    folder = bundle.model(tmp_path / "cache")
    assert [path.name for path in folder.iterdir()] == ["network.onnx"]
    assert Sealed(file).model(tmp_path / "cache") == folder, "it is unpacked once"
    before = file.read_bytes()
    write_sealed(tmp_path / "tank", file)
    assert file.read_bytes() == before, "the same files make the same bytes"


def test_no_changed_byte_changes_what_is_read(tmp_path: Path) -> None:
    file = sealed(tmp_path)
    whole, content = file.read_bytes(), Sealed(file).read("model/network.onnx")
    refused = 0
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        try:
            assert Sealed(file).read("model/network.onnx") == content
        except UserError:
            refused += 1
    assert refused > len(content), "every byte of content, and most of the rest"


def test_half_a_copy_is_refused(tmp_path: Path) -> None:
    file = sealed(tmp_path)
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(UserError, match="is no bundle"):
        Sealed(file)
    with pytest.raises(UserError, match="is no bundle"):
        Sealed(tmp_path / "gone.pyz")


@pytest.mark.parametrize(
    "name", ["../evil.py", "/evil.py", "model/../../evil.py", "a\\evil.py", "c:evil.py", "a//evil.py", "dir/"]
)
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    """Though the manifest lists it with the right hash."""
    content = b"" if name.endswith("/") else b"print('evil')"
    (tmp_path / "evil").write_bytes(content)
    known = hashes(tmp_path)["evil"]
    with ZipFile(sealed(tmp_path, files={name: known}), "w") as archive:
        archive.writestr(MANIFEST, (tmp_path / "tank" / MANIFEST).read_text())
        archive.writestr(name, content)
    with pytest.raises(UserError, match=r"damaged or was changed"):
        Sealed(tmp_path / "tank.pyz").unpack(tmp_path / "out", "")
    assert not list(tmp_path.rglob("evil.py"))


def test_links_twins_and_strangers_are_refused(tmp_path: Path) -> None:
    file = sealed(tmp_path)
    whole = file.read_bytes()
    link = ZipInfo("model/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    for name in (link, "stranger.py"):
        file.write_bytes(whole)
        with ZipFile(file, "a") as archive:
            archive.writestr(name, "/etc/passwd")
        with pytest.raises(UserError, match="damaged or was changed"):
            Sealed(file)
    file.write_bytes(whole)
    with ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("CARD.md", "another")
    with pytest.raises(UserError, match="occurs twice"):
        Sealed(file)


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    file = sealed(tmp_path)
    (tmp_path / "tank/CARD.md").unlink()
    write_sealed(tmp_path / "tank", file)
    with pytest.raises(UserError, match="its files are not those"):
        Sealed(file)


@pytest.mark.parametrize(("content", "why"), [({"format": 9}, "has the form 9"), ({"files": 3}, "damaged")])
def test_another_manifest_is_refused(tmp_path: Path, content: dict[str, object], why: str) -> None:
    with pytest.raises(UserError, match=why):
        Sealed(sealed(tmp_path, **content))


def test_a_zip_of_something_else_is_no_bundle(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(UserError, match=r"no manifest\.json"):
        Sealed(tmp_path / "a.zip")


def test_what_was_unpacked_and_then_changed_is_refused(tmp_path: Path) -> None:
    bundle = Sealed(sealed(tmp_path))
    folder = bundle.model(tmp_path / "cache")
    (folder / "network.onnx").write_bytes(b"another")
    with pytest.raises(UserError, match="delete that folder"):
        bundle.model(tmp_path / "cache")
