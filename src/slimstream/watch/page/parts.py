"""The files of the pages."""

from importlib.resources import files


def read_part(name: str) -> str:
    """The text of the file `name` beside this one, wherever the code lies: a bundle is a zip file."""
    return files(__package__).joinpath(name).read_text("utf-8")
