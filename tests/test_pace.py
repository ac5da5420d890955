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
def foretold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that learns from a row in half a second and tests for a minute."""
    forecast = pace.forecast

    def told(plan: Any) -> Forecast:
        seconds = 0.5 * len(plan.train.encoded)
        return replace(forecast(plan, measure=False), training_seconds=seconds, evaluation_seconds=60.0)

    monkeypatch.setattr(pace, "forecast", told)


@pytest.fixture
def within(foretold: None, tiny_folder: Path) -> Callable[..., new.Rows]:
    """`rows_within` of a small base."""

    def call(minutes: float, labelled: Path | None = None) -> new.Rows:
        return pace.rows_within(minutes, "flat", SCHEMA, labelled, base=str(tiny_folder))

    return call


def test_more_minutes_more_rows(within: Callable[..., new.Rows], capsys: pytest.CaptureFixture[str]) -> None:
    """Twenty minutes leave fourteen for training, of which nine tenths are planned with: 1,512 rows of 0.5 s, and 60
    that are held back."""
    assert within(20) == new.Rows(930, 620)
    assert capsys.readouterr().err.splitlines()[1:] == [
        "rows      930 made and 620 others: 12 min of training on this machine"
    ]
    assert within(34) == new.Rows(1845, 1230)
    assert within(1e4) == new.Rows(4500, 3000)
    assert "more time would not be used" in capsys.readouterr().err


def test_too_few_minutes_are_told(within: Callable[..., new.Rows], capsys: pytest.CaptureFixture[str]) -> None:
    assert within(6) == new.Rows(120, 80)
    assert "in all it will take more than 6 min" in capsys.readouterr().err
    for none in (0, -3, float("nan")):
        with pytest.raises(BadInput, match=r"--minutes .*: give a number above 0"):
            within(none)


def test_labelled_documents_take_their_share(within: Callable[..., new.Rows], tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    rows = [{"text": f"{n} rooms", "target": {"rooms": n}} for n in range(40)]
    own.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = [within(20, own).made, within(20).made]
    assert made == [810, 930]  # twenty of them ten times


@pytest.mark.usefixtures("foretold")
def test_a_project_says_how_many(tmp_path: Path, tiny_folder: Path, slmbench: Callable[..., Any]) -> None:
    """What its README makes is what its recipe counts on; where there is something already, nothing is measured."""
    schema, folder = tmp_path / "flat.json", tmp_path / "flat"
    schema.write_text(json.dumps(SCHEMA))
    slmbench("new", schema, "--out", folder, "--minutes", 34, "--base", tiny_folder)
    assert "synth schemas/flat.json -n 1845 --out data/flat.made.jsonl\n" in (folder / "README.md").read_text()
    assert load_recipe(folder / "recipe.yaml").data.train == ("data/flat.made.jsonl", "edge_json/train_large:1230")
    assert load_recipe(folder / "recipe.yaml").base == str(tiny_folder)
    refused = slmbench("new", schema, "--out", folder)
    assert refused.code == 2 and "something there already" in refused.sentence and "rows" not in refused.err
