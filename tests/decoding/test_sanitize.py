from __future__ import annotations

import json
from typing import Any

from hypothesis import given

from komos_source.decoding.sanitize import json_text, storable
from tests.decoding.test_parse import values


@given(values)
def test_json_text_is_the_storable_value_as_utf_8_json(value: Any) -> None:
    text = json_text(value)
    assert json.loads(text, parse_constant=lambda name: "refused") == storable(value)
    assert "\0" not in str(storable(value))
    text.encode()  # raises on halves of surrogate pairs
