"""One record: what it holds is in the events, on cards and in the reference."""

import ast
import dataclasses
import inspect

from residua.storage.write import cards
from residua.subtraction.quality import QualityRecord
from residua_schemas.difference_image import KernelSummary, Quality

FIELDS = {f.name for f in dataclasses.fields(QualityRecord)}


def test_every_number_is_in_the_events():
    kernel = {f"kernel_{name}" for name in KernelSummary.model_fields}
    assert FIELDS - set(Quality.model_fields) - kernel == set()
    assert set(Quality.model_fields) <= FIELDS


def test_every_number_is_on_a_card_of_its_own():
    tree = ast.parse(inspect.getsource(cards.quality_cards))
    rows = [node.elts for node in ast.walk(tree) if isinstance(node, ast.Tuple)]
    keys = [row[0].value for row in rows if len(row) == 3 and isinstance(row[0], ast.Constant)]
    assert len(keys) == len(set(keys))
    assert all(len(key) <= 8 for key in keys)
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "q"
    }
    assert read == FIELDS


def test_every_number_is_described():
    described = inspect.getdoc(QualityRecord)
    for name in FIELDS:
        assert name in described
