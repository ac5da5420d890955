"""What `slmbench plan` foretells of a training's memory against what the training then takes, for several shapes.

    python benchmarks/memory_plan.py --out results/memory/plan.json

Each shape trains a few updates in a process of its own: other lengths, passes, ranks, precisions, and a second base of
another size with random weights. The last column is foretold / measured; a difference over 10 % is marked. Exit code 1
says that there was one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slmbench import models
from slmbench.files import json_text, read_json, write_atomic
from slmbench.memory import GIB, machine
from slmbench.progress import say

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "recipes" / "edge_json_135m.yaml"
FEW = ("data.limit=48", "data.validation=4", "train.epochs=1", "train.update_examples=16")
SHAPES = {
    "as the recipe says": (),
    "passes of 256, rank 8, plain prompt": ("train.micro_tokens=256", "adapter.r=8", "prompt=plain"),
    "passes of 3,000, rank 64": ("train.micro_tokens=3000", "adapter.r=64"),
    "passes of 2,048, two targets": ("train.micro_tokens=2048", "adapter.targets=[q_proj, v_proj]"),
    "fp32": ("train.precision=fp32",),
    "autograd (dropout 0.1)": ("adapter.dropout=0.1",),
    "autograd, passes of 2,048": ("adapter.dropout=0.1", "train.micro_tokens=2048"),
    "another base, random": ("base={base}",),
    "another base, passes of 2,048": ("base={base}", "train.micro_tokens=2048"),
}
# The sizes of SmolLM2-360M.
OTHER = {"hidden_size": 960, "intermediate_size": 2560, "num_hidden_layers": 32, "num_attention_heads": 15}
OTHER |= {"num_key_value_heads": 5}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON for a script to parse")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON here too")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = other_base(folder / "base")
        rows = []
        for label, settings in SHAPES.items():
            say(f"memory    {label}")
            rows.append({"shape": label, **measured(folder / "runs", [s.format(base=base) for s in settings])})
    record = {"machine": machine(), "shapes": rows}
    if arguments.out:
        write_atomic(arguments.out, json_text(record))
    print(json_text(record) if arguments.json else table(rows), end="")
    return int(any(abs(row["ratio"] - 1) > 0.1 for row in rows))


def other_base(folder: Path) -> Path:
    """A base of other sizes with random weights and the tokenizer of the known one."""
    import torch
    import transformers

    known = models.find("smollm2-135m")
    config = transformers.AutoConfig.from_pretrained(known.folder)
    for key, value in OTHER.items():
        setattr(config, key, value)
    config.head_dim = config.hidden_size // config.num_attention_heads
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    models.load_tokenizer(known).save_pretrained(folder)
    return folder


def measured(runs: Path, settings: Sequence[str]) -> dict[str, Any]:
    """GiB foretold and measured of one training."""
    name = f"shape-{len(list(runs.glob('*')))}"
    command = [sys.executable, "-m", "slmbench", "train", str(RECIPE), "--runs", str(runs), "--name", name]
    command += [word for setting in (*FEW, *settings) for word in ("--set", setting)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: ended with {done.returncode}:\n{done.stderr}")
    plan = read_json(runs / name / "plan.json", "the training writes it")
    foretold = plan["foretold"]["training"]["total"] / GIB
    taken = plan["measured"]["peak_memory_gib"]
    return {"foretold_gib": round(foretold, 3), "measured_gib": taken, "ratio": round(foretold / taken, 3)}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = ["| shape | foretold, GiB | measured, GiB | ratio |", "|---|---:|---:|---:|"]
    for row in rows:
        mark = "" if abs(row["ratio"] - 1) <= 0.1 else " (over 10 %)"
        lines.append(
            f"| {row['shape']} | {row['foretold_gib']:.2f} | {row['measured_gib']:.2f} | {row['ratio']:.2f}{mark} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
