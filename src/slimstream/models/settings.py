"""Settings that many networks take, with the values they may have."""

from typing import Annotated

from pydantic import Field

Classes = Annotated[int, Field(ge=2)]
"""Classes to tell apart."""
Dropout = Annotated[float, Field(ge=0, lt=1)]
"""Probability that something is dropped in training."""
Width = Annotated[float, Field(ge=0.0625, le=1)]
"""Share of the published channels."""
