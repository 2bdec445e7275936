import pytest

from slimstream.catalog.names import normal_form, similar_names


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffair leak",
        "air  leak ",
        "air\u00a0leak",
        "air\tleak",
        "a\u00adir le\u200bak",
        " air\u2009leak",
        "air\ufe0f lea\u034fk\u3164",
    ],
)
def test_what_looks_the_same_is_the_same(text: str) -> None:
    assert normal_form(text) == "air leak"


def test_umlauts_are_composed() -> None:
    assert normal_form("U\u0308berlauf") == "Überlauf" and normal_form("\u212b") == "Å"
    assert normal_form("u\u200b\u0308") == "ü"


def test_case_and_spacing_are_told_and_signs_are_not() -> None:
    assert similar_names(["ok", "OK", "no load", "no-load", "No_Load", "nok"]) == [
        ["No_Load", "no load", "no-load"],
        ["OK", "ok"],
    ]
    assert similar_names(["-1", "1", "C", "C++", "1.0", "10"]) == []
