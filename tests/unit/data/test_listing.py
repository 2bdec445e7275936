import pytest

from slimstream.data.listing import Listing, Stat, arrange
from slimstream.errors import UserError

GOOD = "good.mp4"
FILES = {
    name: Stat(1) for name in (GOOD, "metadata.csv", "a.mp4", "sub/b.avi", "Überlauf 1.mp4", "notes.txt")
}


def table(text: str, encoding: str = "utf-8") -> Listing:
    return arrange(FILES, text.encode(encoding), "here")


def row(line: str) -> Listing:
    """A table with a good clip and one more row."""
    return table(f"path,label,camera\n{GOOD},x,c\n{line}\n")


def test_folders_are_classes() -> None:
    files = {key: Stat(1) for key in ("b/2.MP4", "a/deep/1.avi", "a/notes.txt", "stray.mp4")}
    listing = arrange(files, None, "here")
    assert [(item.key, item.label) for item in listing.items] == [("a/deep/1.avi", "a"), ("b/2.MP4", "b")]
    assert listing.rejected == {"stray.mp4": "lies in no class folder"}


def test_pictures_are_clips_where_there_are_no_videos() -> None:
    files = {key: Stat(1) for key in ("b/2.JPG", "a/deep/1.jpeg", "a/3.png", "b/4.bmp", "b/5.TIF", "a/x.gif")}
    listing = arrange(files, None, "here")
    assert [item.key for item in listing.items] == [
        "a/3.png", "a/deep/1.jpeg", "b/2.JPG", "b/4.bmp", "b/5.TIF",
    ]  # fmt: skip


def test_videos_and_pictures_do_not_mix() -> None:
    files = {key: Stat(1) for key in ("a/1.mp4", "b/2.mp4", "a/1.jpg")}
    with pytest.raises(UserError, match=r"^here holds 2 videos \(such as a/1.mp4\) and 1 pictures .*a/1.jpg"):
        arrange(files, None, "here")
    listed = arrange(files, b"path,label\na/1.mp4,x\nb/2.mp4,y\n", "here")
    assert [item.key for item in listed.items] == ["a/1.mp4", "b/2.mp4"], "what is not listed is no clip"
    with pytest.raises(UserError, match="of one kind"):
        arrange(files, b"path,label\na/1.mp4,x\na/1.jpg,y\n", "here")


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
        ("path;label\na.mp4;x\n", "lacks the column path and label; its first line has: path;label"),
        ("path,label,\na.mp4,x,\n", "a column has no name"),
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
    with pytest.raises(UserError, match=r"here/metadata\.csv is not UTF-8 text"):
        table("path,label\nÜberlauf 1.mp4,x\n", "latin-1")


def test_no_clip_at_all_is_told() -> None:
    with pytest.raises(UserError, match="here: no clip can be used"):
        arrange({}, None, "here")
