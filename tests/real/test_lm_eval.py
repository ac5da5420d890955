"""The real weights through lm-eval and through slmbench: the same answers, in fp32, to the letter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slmbench import models

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


def test_lm_eval_and_slmbench_answer_the_same(base: models.BaseModel) -> None:
    pytest.importorskip("lm_eval")
    script = ROOT / "benchmarks" / "lm_eval_agreement.py"
    command = [sys.executable, str(script), str(base.folder), "--task", "edge_intent", "--rows", "2", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["rows"], result["same_prompts"]) == (2, 2)
    assert result["differing"] == []
