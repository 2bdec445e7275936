"""Types of settings that many networks share, with their ranges."""

from typing import Annotated

from pydantic import Field

Classes = Annotated[int, Field(ge=2)]
"""Number of classes."""
Dropout = Annotated[float, Field(ge=0, lt=1)]
"""Dropout probability."""
Grid = Annotated[int, Field(ge=1, le=4)]
"""Rows and columns of the cells over which maps are averaged."""
Width = Annotated[float, Field(ge=0.0625, le=1)]
"""Factor of the published number of channels."""
