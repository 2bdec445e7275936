"""Flows to change the champion from Prefect's UI: promote a version, or undo the last promotion."""

# mypy: disable-error-code="unused-coroutine"
from typing import Annotated

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from flows.announce import announce
from flows.watch import ROOT, run_command

Name = Annotated[str | None, Field(description="the registered model, if not that of params.yaml")]


@flow(name="promote")
def promote(
    version: Annotated[int, Field(ge=1, description="its number; the registry lists all versions")],
    force: Annotated[bool, Field(description="although the gate refused it, or it was rolled back")] = False,
    name: Name = None,
) -> None:
    """Make a registered version the champion."""
    said = run_command(
        "promote", ROOT, {}, str(version), *(["--force"] if force else []), *_name_option(name)
    )
    create_markdown_artifact(said[-1], key="champion")
    announce("promoted", said[-1])


@flow(name="rollback")
def rollback(name: Name = None) -> None:
    """Make the previous champion the champion again."""
    said = run_command("rollback", ROOT, {}, *_name_option(name))
    create_markdown_artifact(said[-1], key="champion")
    announce("rolled-back", said[-1])


def _name_option(name: str | None) -> list[str]:
    return ["--name", name] if name else []
