"""Shared by the tests of whole stages."""

from collections.abc import Iterator

import pytest

from slimstream import models
from tests.pipeline.tiny_networks import NETWORKS


@pytest.fixture(scope="module", autouse=True)
def tiny_networks() -> Iterator[None]:
    """The tiny networks can be named in params.yaml."""
    with pytest.MonkeyPatch.context() as patch:
        for name, factory in NETWORKS.items():
            patch.setitem(models.MODELS, name, factory)
        yield
