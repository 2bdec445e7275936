"""Flows to change the champion from Prefect's UI: promote a version, or undo the last promotion."""

# mypy: disable-error-code="unused-coroutine"
from typing import Annotated

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from flows.announce import announce
from flows.choices import Text
from flows.watch import ROOT, run_command


@flow(name="promote", flow_run_name="version {version}")
def promote(version: Annotated[int, Field(ge=1)], force: bool = False, name: Text = "") -> None:
    """Make a registered version the champion.

    Args:
        version: Its number; MLflow lists all versions of a registered model.
        force: Promote it although the gate refused it, or it was rolled back.
        name: The registered model. Empty: that of params.yaml.
    """
    said = run_command(
        "promote", ROOT, {}, str(version), *(["--force"] if force else []), *_name_option(name)
    )
    create_markdown_artifact(said[-1], key="champion")
    announce("promoted", said[-1])


@flow(name="rollback")
def rollback(name: Text = "") -> None:
    """Make the previous champion the champion again.

    Args:
        name: The registered model. Empty: that of params.yaml.
    """
    said = run_command("rollback", ROOT, {}, *_name_option(name))
    create_markdown_artifact(said[-1], key="champion")
    announce("rolled-back", said[-1])


def _name_option(name: str | None) -> list[str]:
    return ["--name", name] if name else []
