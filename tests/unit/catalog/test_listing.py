import unicodedata

import pytest

from slimstream.catalog.listing import FileStat, Listing, find_metadata, label_files
from slimstream.core.errors import UserError

GOOD = "good.mp4"
FILES = {
    name: FileStat(1) for name in (GOOD, "metadata.csv", "a.mp4", "sub/b.avi", "Überlauf 1.mp4", "notes.txt")
}


def table(text: str, encoding: str = "utf-8") -> Listing:
    return label_files(FILES, text.encode(encoding), "here")


def row(line: str) -> Listing:
    """A table with a good clip and one more row."""
    return table(f"path,label,camera\n{GOOD},x,c\n{line}\n")


def test_folders_are_classes() -> None:
    files = {key: FileStat(1) for key in ("b/2.MP4", "a/deep/1.avi", "a/notes.txt", "stray.mp4")}
    listing = label_files(files, None, "here")
    assert [(item.key, item.label) for item in listing.items] == [("a/deep/1.avi", "a"), ("b/2.MP4", "b")]
    assert listing.rejected == {"stray.mp4": "lies in no class folder"}


def test_pictures_are_clips_where_there_are_no_videos() -> None:
    files = {
        key: FileStat(1) for key in ("b/2.JPG", "a/deep/1.jpeg", "a/3.png", "b/4.bmp", "b/5.TIF", "a/x.gif")
    }
    listing = label_files(files, None, "here")
    assert [item.key for item in listing.items] == [
        "a/3.png", "a/deep/1.jpeg", "b/2.JPG", "b/4.bmp", "b/5.TIF",
    ]  # fmt: skip


def test_videos_and_pictures_do_not_mix() -> None:
    files = {key: FileStat(1) for key in ("a/1.mp4", "b/2.mp4", "a/1.jpg")}
    with pytest.raises(UserError, match=r"^here holds 2 videos \(such as a/1.mp4\) and 1 pictures .*a/1.jpg"):
        label_files(files, None, "here")
    listed = label_files(files, b"path,label\na/1.mp4,x\nb/2.mp4,y\n", "here")
    assert [item.key for item in listed.items] == ["a/1.mp4", "b/2.mp4"], "what is not listed is no clip"
    with pytest.raises(UserError, match="of one kind"):
        label_files(files, b"path,label\na/1.mp4,x\na/1.jpg,y\n", "here")


def test_a_table_gives_labels_and_groups() -> None:
    listing = table('path,label,camera,"shift, day"\nsub/b.avi,on,c1,late\n./Überlauf 1.mp4, off ,c2,\n\n')
    assert [(item.key, item.label, item.groups) for item in listing.items] == [
        ("sub/b.avi", "on", {"camera": "c1", "shift, day": "late"}),
        ("Überlauf 1.mp4", "off", {"camera": "c2", "shift, day": ""}),
    ]
    assert not listing.rejected


def test_a_byte_order_mark_is_no_harm() -> None:
    assert table("path,label\na.mp4,x\n", "utf-8-sig").items[0].label == "x"


@pytest.mark.parametrize(
    ("line", "key", "reason"),
    [
        ("/etc/a.mp4,x,c", "/etc/a.mp4", "an absolute path"),
        (r"C:\a.mp4,x,c", r"C:\a.mp4", "an absolute path"),
        (r"\\host\a.mp4,x,c", r"\\host\a.mp4", "an absolute path"),
        ("../a.mp4,x,c", "../a.mp4", "leaves the source"),
        ("sub/../../a.mp4,x,c", "sub/../../a.mp4", "leaves the source"),
        (r"sub\..\..\a.mp4,x,c", r"sub\..\..\a.mp4", "leaves the source"),
        ("https://host/a.mp4,x,c", "https:/host/a.mp4", "a URL"),
        ("gone.mp4,x,c", "gone.mp4", "no such file"),
        ("notes.txt,x,c", "notes.txt", "not the name of a video or picture"),
        ("a.mp4,,c", "a.mp4", "label is empty"),
        ("a.mp4", "a.mp4", "label is empty"),
        (",x,c", "metadata.csv:3", "path is empty"),
        ("a.mp4,x,c,d", "a.mp4", "more fields"),
        ("a.mp4,x,c\na.mp4,y,c", "a.mp4", "different labels: x, y"),
        ("a.mp4,x,c\n./a.mp4,y,c", "a.mp4", "different labels: x, y"),
        ("a.mp4,x,c\na.mp4,x,d", "a.mp4", "different columns"),
        ("a.mp4,x,c\na.mp4,,c", "a.mp4", "label is empty"),
    ],
)
def test_a_bad_row_is_put_aside_and_the_rest_goes_on(line: str, key: str, reason: str) -> None:
    listing = row(line)
    assert [item.key for item in listing.items] == [GOOD]
    assert list(listing.rejected) == [key] and reason in listing.rejected[key]


def test_a_row_that_is_there_twice_counts_once() -> None:
    listing = row("a.mp4,x,c\na.mp4,x,c\n./a.mp4,x,c")
    assert [item.key for item in listing.items] == ["a.mp4", GOOD] and not listing.rejected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "lacks the column path and label; its first line has: nothing"),
        ("file,label\na.mp4,x\n", "lacks the column path; its first line has: file, label"),
        ("path,,label\na.mp4,,x\n", "a column has no name"),
        ("Path,PATH,label\na.mp4,a.mp4,x\n", "lacks the column path; its first line has: Path, PATH"),
        ("path,label,label\na.mp4,x,y\n", "there twice"),
        ("path,label,sha256\na.mp4,x,y\n", "the manifest itself uses the column name sha256"),
        ('path,label\n"a.mp4,x\n', "line 2: unexpected end of data"),
        ("path,label\ngone.mp4,x\n", "no clip can be used; gone.mp4: no such file"),
        ("path,label\n", "no clip can be used"),
    ],
)
def test_a_table_that_cannot_be_meant_is_one_sentence(text: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        table(text)


def test_a_table_in_another_encoding_is_told() -> None:
    """An old code page is not guessed at: the wrong one would make other names of names."""
    with pytest.raises(UserError, match=r"here/metadata\.csv is neither UTF-8 .* in Excel as 'CSV UTF-8'"):
        table("path,label\nÜberlauf 1.mp4,x\n", "cp1252")


def test_no_clip_at_all_is_told() -> None:
    with pytest.raises(UserError, match="here: no clip can be used"):
        label_files({}, None, "here")


def folders(*keys: str) -> Listing:
    return label_files({key: FileStat(1) for key in keys}, None, "here")


def described(listing: Listing) -> list[tuple[str, str, str]]:
    return [(item.key, item.label, item.groups.get("given", "")) for item in listing.items]


def test_folders_of_a_split_are_a_column_and_the_classes_lie_below() -> None:
    listing = folders("Train/ok/1.png", "train/bad/deep/2.png", "VALID/ok/3.png", "test_set/bad/4.png")
    assert described(listing) == [
        ("Train/ok/1.png", "ok", "train"),
        ("VALID/ok/3.png", "ok", "val"),
        ("test_set/bad/4.png", "bad", "test"),
        ("train/bad/deep/2.png", "bad", "train"),
    ]
    assert folders("train/ok/1.png", "test/2.png").rejected == {"test/2.png": "lies in no class folder"}
    vehicles = folders("train/train/1.png", "train/bus/2.png", "test/train/3.png")
    assert sorted(label for _, label, _ in described(vehicles)) == ["bus", "train", "train"]


def test_folders_of_a_split_may_lie_below_the_classes() -> None:
    assert described(folders("ok/train/1.png", "ok/test/2.png", "bad/Training/3.png")) == [
        ("bad/Training/3.png", "bad", "train"),
        ("ok/test/2.png", "ok", "test"),
        ("ok/train/1.png", "ok", "train"),
    ]


@pytest.mark.parametrize(
    "keys",
    [("valid/1.png", "invalid/2.png"), ("leak/test/1.png", "leak/run/2.png"), ("ok/1.png", "bad/2.png")],
)
def test_where_no_part_is_called_train_there_is_no_split(keys: tuple[str, ...]) -> None:
    assert all(not given for _, _, given in described(folders(*keys)))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (("train/1.png", "bus/2.png"), "train are called like parts of a split and bus are not"),
        (("train/ok/1.png", "test/ok/2.png", "more/3.png"), "test, train are called .* and more are not"),
        (("train/1.png", "test/2.png"), "hold clips, not folders of classes"),
        (
            ("ok/train/1.png", "ok/test/2.png", "bad/3.png"),
            "ok/train is called .* but bad/3.png lies in none",
        ),
        (("all/train/ok/1.png", "all/test/ok/2.png"), "Give here/all as the source"),
        (("bottle/train/ok/1.png", "nut/train/ok/2.png"), "either may be the class"),
    ],
)
def test_what_may_be_parts_or_classes_is_refused_with_a_way_out(keys: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        folders(*keys)
    assert "Say which clip is of which class in a metadata.csv" in str(caught.value)


def test_a_table_settles_folders_that_are_called_like_a_split() -> None:
    files = {key: FileStat(1) for key in ("train/1.png", "bus/2.png")}
    listing = label_files(files, b"path,label\ntrain/1.png,train\nbus/2.png,bus\n", "here")
    assert described(listing) == [("bus/2.png", "bus", ""), ("train/1.png", "train", "")]


def test_labels_that_look_the_same_are_one() -> None:
    composed, apart = (unicodedata.normalize(form, "Überlauf") for form in ("NFC", "NFD"))
    listing = folders(
        f"{composed}/1.png",
        f"{apart}/1.png",
        "air  leak/2.png",
        "air\u00a0leak/3.png",
        "o\u200bk/4.png",
        "ok/5.png",
    )
    assert [item.label for item in listing.items].count(composed) == 2
    assert {item.label for item in listing.items} == {composed, "air leak", "ok"}
    assert len({item.key for item in listing.items}) == 6, "a key stays the name of the file"


def test_a_table_finds_files_whose_names_look_the_same() -> None:
    composed, apart = (unicodedata.normalize(form, "Überlauf 1.mp4") for form in ("NFC", "NFD"))
    for written, there in ((composed, apart), (apart, composed), (r"sub\ü.mp4", "sub/u\u0308.mp4")):
        metadata = f"path,label,camera\n{written},o\ufeffk, c\u00a0 1 \n".encode()
        (item,) = label_files({there: FileStat(1)}, metadata, "here").items
        assert (item.key, item.label, item.groups) == (there, "ok", {"camera": "c 1"})


def test_of_two_files_that_look_the_same_none_is_taken_for_the_other() -> None:
    composed, apart = (unicodedata.normalize(form, "ü.mp4") for form in ("NFC", "NFD"))
    files = {composed: FileStat(1), apart: FileStat(2), GOOD: FileStat(3)}
    both = label_files(files, f"path,label\n{composed},x\n{apart},y\n".encode(), "here")
    assert {item.key: item.label for item in both.items} == {composed: "x", apart: "y"}
    neither = label_files(files, f"path,label\nü\u200b.mp4,x\n{GOOD},y\n".encode(), "here")
    assert [item.key for item in neither.items] == [GOOD]
    assert "the names of several files look like it" in neither.rejected["ü\u200b.mp4"]


def test_another_case_is_told_and_not_taken() -> None:
    assert row("SUB/B.AVI,x,c").rejected == {"SUB/B.AVI": "no such file in the source; there is sub/b.avi"}


def test_what_is_no_clip_is_counted() -> None:
    listing = folders("a/1.png", "a/2.gif", "b/3.GIF", "notes.txt", "a/LICENSE", "a/._1.png", ".DS_Store")
    assert listing.skipped == {".gif": 2, "hidden or system": 2, ".txt": 1, "without suffix": 1}
    assert row("a.mp4,x,c").skipped == {
        ".txt": 1,
        ".avi not in metadata.csv": 1,
        ".mp4 not in metadata.csv": 1,
    }
    assert listing == folders("a/1.png"), "and is no news"


def test_clutter_is_no_clip_though_a_table_lists_it() -> None:
    files = {key: FileStat(1) for key in ("__MACOSX/a.mp4", GOOD)}
    listing = label_files(files, f"path,label\n__MACOSX/a.mp4,x\n{GOOD},x\n".encode(), "here")
    assert listing.rejected == {"__MACOSX/a.mp4": "a hidden or system file, which is never a clip"}


@pytest.mark.parametrize(
    "text",
    [
        "path;label;camera\na.mp4;x,y;c\n",
        "path\tlabel\tcamera\na.mp4\tx,y\tc\n",
        "path|label|camera\na.mp4|x,y|c\n",
        "sep=;\npath;label;camera\na.mp4;x,y;c\n",
        "SEP=;\npath;label;camera\na.mp4;x,y;c\n",
        "sep=\t\r\npath\tlabel\tcamera\r\na.mp4\tx,y\tc\r\n",
        '"sep=,"\npath,label,camera\na.mp4,"x,y",c\n',
        "path;label;camera\ra.mp4;x,y;c\r",
        "\n\nPath ; LABEL;camera;\r\na.mp4;x,y;c;\r\n;;;\r\n",
        '"path";"label";"camera"\n"a.mp4";"x,y";"c"',
        "\u200bpath;label;camera\na.mp4;x,y;c\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_table_is_read_whatever_saved_it(text: str, encoding: str) -> None:
    (item,) = table(text, encoding).items
    assert (item.key, item.label, item.groups) == ("a.mp4", "x,y", {"camera": "c"})


def test_a_big_endian_mark_is_no_harm() -> None:
    text = "path,label\nÜberlauf 1.mp4,x\n".encode("utf-16-be")
    assert label_files(FILES, b"\xfe\xff" + text, "here").items[0].key == "Überlauf 1.mp4"


def test_a_mistake_is_told_by_the_line_of_the_file() -> None:
    assert table("sep=;\npath;label\na.mp4;x\n;x\n").rejected == {"metadata.csv:4": "the path is empty"}


def test_the_table_is_found_in_any_letters() -> None:
    assert find_metadata(["a/metadata.csv", "Metadata.CSV"], "here") == "Metadata.CSV"
    assert find_metadata(["METADATA.CSV", "metadata.csv"], "here") == "metadata.csv"
    assert find_metadata(["a/metadata.csv"], "here") is None
    with pytest.raises(UserError, match=r"METADATA\.CSV and Metadata\.csv: name the right one metadata\.csv"):
        find_metadata(["METADATA.CSV", "Metadata.csv"], "here")
