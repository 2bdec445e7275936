"""The operator's file, names of cameras, and passwords that stay out of both."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from slimstream.core.errors import UserError
from slimstream.watch.secrets import shown, without_address
from slimstream.watch.settings import camera_name, expand, load_settings

ADDRESS = "rtsp://admin:p@ss@10.0.0.5:554/door?key=abc"


def test_a_file_names_cameras_and_sources_replace_them(tmp_path: Path) -> None:
    file = tmp_path / "watch.yaml"
    file.write_text(
        "agree_for: {leak: 2}\ncameras:\n  gate: {source: rig://1, region: [0, 0, 0.5, 1], fps: 5}\n"
    )
    settings = load_settings(file, [])
    assert settings.cameras["gate"].region == (0, 0, 0.5, 1) and settings.agree_for == {"leak": 2}
    settings = load_settings(file, ["rig://7", "clips/a b.mp4", "other/a b.mp4"])
    assert list(settings.cameras) == ["rig-7", "a-b", "a-b-2"] and settings.agree_for == {"leak": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "cameras: {gate: {source: x, regin: [0, 0, 1, 1]}}",
            r"unknown setting 'cameras\.gate\.regin'; did you mean 'region'",
        ),
        ("hopp: 2", "did you mean 'hop'"),
        ("cameras: {gate: {source: x, region: [0.5, 0, 0.5, 1]}}", "left < right"),
        ("cameras: {'a/b': {source: x}}", "cameras"),
        ("mqtt: {host: h, password: p}", r"unknown setting 'mqtt\.password'"),
        ("hop: 2", "nothing to watch"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "watch.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=said):
        load_settings(file, [])


def test_passwords_come_from_the_environment_and_go_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATE", "p@ss")
    assert expand("rtsp://admin:${GATE}@10.0.0.5:554/door?key=abc", tmp_path) == ADDRESS
    with pytest.raises(UserError, match="NOT_SET"):
        expand("rtsp://admin:${NOT_SET}@10.0.0.5/", tmp_path)
    (tmp_path / ".services").mkdir()
    (tmp_path / ".services/secrets.env").write_text("DOOR=of make up\n")
    assert expand("rtsp://admin:${DOOR}@10.0.0.5/", tmp_path) == "rtsp://admin:of%20make%20up@10.0.0.5/"
    assert shown(ADDRESS) == "rtsp://10.0.0.5:554/door" and camera_name(ADDRESS) == "10-0-0-5-door"
    for text in (f"cannot open '{ADDRESS}'", "refused for admin:p@ss", "GET /door?key=abc failed", "no p@ss"):
        said = without_address(text, ADDRESS)
        assert "p@ss" not in said and "abc" not in said
    assert without_address("plain", "a.mp4") == "plain"


@pytest.mark.parametrize("password", ["p/ss", "p#ss", "p?ss", "pa[ss", "p@ss"])
def test_a_password_may_have_any_characters(
    password: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for written in (f"rtsp://admin:{password}@10.0.0.5/door", "rtsp://admin:${GATE}@10.0.0.5/door"):
        monkeypatch.setenv("GATE", password)
        address = expand(written, tmp_path)
        assert shown(address) == "rtsp://10.0.0.5/door" and camera_name(address) == "10-0-0-5-door"
        assert "ss" not in without_address(f"no {password}, no {address}", address)
    assert urlsplit(address).hostname == "10.0.0.5"  # as a program that connects reads what came from GATE
