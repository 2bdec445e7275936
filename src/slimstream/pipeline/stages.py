"""The stages by name."""

from importlib import import_module
from types import ModuleType


def load(stage: str) -> ModuleType:
    """The module with a stage's `run`: a file of `slimstream.stages`, or `stage.py` of a folder there."""
    module = import_module(f"slimstream.stages.{stage}")
    return module if hasattr(module, "run") else import_module(f"{module.__name__}.stage")
