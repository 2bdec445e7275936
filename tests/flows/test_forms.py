"""The forms by which Prefect's UI starts a flow."""

from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools import validate

from flows import registry, retrain, watch


@pytest.mark.parametrize("flow", [retrain.retrain, watch.ingest_watch, registry.promote, registry.rollback])
def test_a_form_can_be_sent_as_it_opens(flow: Any) -> None:
    """A form sends all defaults, and the server refuses those that are not of their type, such as None."""
    schema = parameter_schema(flow).model_dump()
    fields = schema["properties"]
    defaults = {name: field["default"] for name, field in fields.items() if "default" in field}
    assert "anyOf" not in str(fields), "a form would ask for the type of a value first"
    validate(defaults, schema, raise_on_error=True, preprocess=True, ignore_required=True)
    assert not any("<" in field["description"] for field in fields.values()), "the form reads Markdown"
