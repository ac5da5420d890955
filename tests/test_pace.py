"""How many rows a machine learns from in some minutes: what a project begins with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slmbench import new, pace
from slmbench.config import load_recipe
from slmbench.core import BadInput
from slmbench.forecast import Forecast

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"rooms": {"type": "integer"}, "city": {"type": "string"}},
    "required": ["rooms"],
    "additionalProperties": False,
}


@pytest.fixture
def foretold(monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> None:
    """A machine that learns from a row in half a second and tests for a minute, and a small base."""
    forecast = pace.forecast

    def told(plan: Any) -> Forecast:
        seconds = 0.5 * len(plan.train.encoded)
        return replace(forecast(plan, measure=False), training_seconds=seconds, evaluation_seconds=60.0)

    monkeypatch.setattr(pace, "forecast", told)
    monkeypatch.setattr(new, "RECIPE", new.RECIPE + f"base: {tiny_folder}\n")


@pytest.mark.usefixtures("foretold")
def test_more_minutes_more_rows(capsys: pytest.CaptureFixture[str]) -> None:
    """Twenty minutes leave fourteen for training, of which nine tenths are planned with: 1,512 rows of 0.5 s, and 60 that
    are held back."""
    assert pace.rows_within(20, SCHEMA) == new.Rows(930, 620)
    assert capsys.readouterr().err.splitlines()[1:] == [
        "rows      930 made and 620 others: 12 min of training on this machine"
    ]
    assert pace.rows_within(34, SCHEMA) == new.Rows(1845, 1230)
    assert pace.rows_within(1e4, SCHEMA) == new.Rows(4500, 3000)


@pytest.mark.usefixtures("foretold")
def test_too_few_minutes_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert pace.rows_within(6, SCHEMA) == new.Rows(120, 80)
    assert "in all it will take more than 6 min" in capsys.readouterr().err
    for none in (0, -3, float("nan"), float("inf")):
        with pytest.raises(BadInput, match=r"--minutes .*: give a number above 0"):
            pace.rows_within(none, SCHEMA)


@pytest.mark.usefixtures("foretold")
def test_labelled_documents_take_their_share(tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    rows = [{"text": f"{n} rooms", "target": {"rooms": n}} for n in range(40)]
    own.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = [pace.rows_within(20, SCHEMA, own).made, pace.rows_within(20, SCHEMA).made]
    assert made == [810, 930]  # twenty of them ten times


@pytest.mark.usefixtures("foretold")
def test_a_project_says_how_many(tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    """What its README makes is what its recipe counts on; where there is something already, nothing is measured."""
    schema, folder = tmp_path / "flat.json", tmp_path / "flat"
    schema.write_text(json.dumps(SCHEMA))
    slmbench("new", schema, "--out", folder, "--minutes", 34)
    assert "synth schemas/flat.json -n 1845 --out data/flat.made.jsonl\n" in (folder / "README.md").read_text()
    assert load_recipe(folder / "recipe.yaml").data.train == ("data/flat.made.jsonl", "edge_json/train_large:1230")
    refused = slmbench("new", schema, "--out", folder)
    assert refused.code == 2 and "something there already" in refused.sentence and "rows" not in refused.err
