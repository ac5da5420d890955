"""A base model of a few thousand random parameters and a recipe for it: every path in seconds, without a network."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from mail_schema import SCHEMA

# Results are compared to the bit: on the processor, whatever else the machine has.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# Side by side each process has a thread: several on one core wait for each other, which takes tiny models five times as
# long.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]
EDGE_JSON = ROOT / "src" / "slmbench" / "tasks" / "edge_json"


@pytest.fixture
def schema_file(tmp_path: Path) -> Path:
    """What to read out of mails, as a file."""
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    return path


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers, drawn from a seed, with a byte-level tokenizer whose pad is not its end token."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|start|>", "<|end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((EDGE_JSON / "data" / "train.jsonl").read_text().splitlines()[:200], trainer)
    pad, start, end = special
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad, bos_token=start, eos_token=end).save_pretrained(
        folder
    )
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096, initializer_range=0.3,
        tie_word_embeddings=True, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def wide_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with sizes that our own kernels have: groups of 64 values, heads of 64."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("wide") / "wide"
    shutil.copytree(tiny_folder, folder)
    config = LlamaConfig.from_pretrained(tiny_folder)
    config.update(
        {
            "hidden_size": 128,
            "intermediate_size": 128,
            "head_dim": 64,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
        }
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def wide_run(settings: dict[str, Any], wide_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training of the wide base."""
    from slmbench.config import recipe_of
    from slmbench.pipeline import make_plan, train_recipe

    folder = tmp_path_factory.mktemp("wide-runs")
    recipe = recipe_of({**settings, "base": str(wide_folder), "name": "wide"}, "test")
    train_recipe(make_plan(recipe, folder))
    import yaml

    (folder / "wide" / "recipe.yaml").write_text(yaml.safe_dump(recipe.to_dict()))
    return folder / "wide"


@pytest.fixture(scope="session")
def wide_exports(wide_run: Path) -> Path:
    """A run and its exports; what a random model answers is noise, so nothing is asked of it."""
    from slmbench import export

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "MOST_POINTS_LOST", 100)
        export.export(wide_run, ["int8", "merged", "gguf-q8_0"])
    return wide_run


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Any:
    """The tiny base as `models.find` gives it."""
    from slmbench import models

    return models.find(str(tiny_folder))


@pytest.fixture(scope="session")
def tokenizer(tiny: Any) -> Any:
    from slmbench import models

    return models.load_tokenizer(tiny)


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.jsonl of 24 short rows and test.jsonl of 6 others, taken from EdgeJSON."""
    folder = tmp_path_factory.mktemp("rows")
    lines = (EDGE_JSON / "data" / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    short = [line for line in lines if len(line) < 420][:30]
    (folder / "train.jsonl").write_text("".join(short[:24]), encoding="utf-8")
    (folder / "exam.jsonl").write_text("".join(short[24:]), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def settings(tiny_folder: Path, data_folder: Path) -> dict[str, Any]:
    """The recipe as plain values: 20 rows trained on in 10 updates, 4 to validate on, 6 to answer, few at a time."""
    return {
        "name": "tiny",
        "base": str(tiny_folder),
        "data": {
            "train": str(data_folder / "train.jsonl"),
            "validation": 4,
            "tests": [{"split": str(data_folder / "exam.jsonl")}],
            "schemas": str(EDGE_JSON / "schemas"),
        },
        "adapter": {"r": 4, "alpha": 8, "dropout": 0.1},
        "train": {
            "epochs": 2, "learning_rate": 0.01, "update_examples": 4, "micro_tokens": 400, "precision": "fp32",
            "checkpoint_seconds": 0,
        },
        "evaluate": {"batch_tokens": 700, "latency_rows": 2, "precision": "fp32"},
    }  # fmt: skip


@pytest.fixture(scope="session")
def recipe_file(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture(scope="session")
def recipe(recipe_file: Path) -> Any:
    from slmbench.config import load_recipe

    return load_recipe(recipe_file)


@pytest.fixture(scope="session")
def encoded(recipe: Any, tokenizer: Any) -> list[Any]:
    """The 24 training rows as tokens."""
    from slmbench.data import read_examples
    from slmbench.template import encode

    examples = read_examples(Path(recipe.data.train[0]), schemas=Path(recipe.data.schemas))
    return [encode(example, tokenizer, "plain") for example in examples]


@pytest.fixture
def fresh(tiny: Any, recipe: Any) -> Callable[..., Any]:
    """The tiny base in fp32 with a new adapter, the same each time; settings of the adapter may be changed."""
    from slmbench import models
    from slmbench.train import attach_adapter

    def make(**changes: Any) -> Any:
        return attach_adapter(models.load_model(tiny), replace(recipe, adapter=replace(recipe.adapter, **changes)))

    return make


@pytest.fixture(scope="session")
def finished(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed run; not to be written to."""
    from slmbench.cli import main

    runs = tmp_path_factory.mktemp("runs")
    assert main(["run", str(recipe_file), "--runs", str(runs)]) == 0
    return runs / "tiny"


@pytest.fixture
def run_copy(finished: Path, tmp_path: Path) -> Path:
    """The finished run once more, to be written to."""
    return Path(shutil.copytree(finished, tmp_path / "runs" / "tiny"))


@pytest.fixture(scope="session")
def board_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small results, a hostile one among them."""
    from leaderboard_results import make

    return make(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="session")
def board_site(board_results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The leaderboard of them."""
    from slmbench.publish.leaderboard import build

    folder = tmp_path_factory.mktemp("site") / "site"
    build(board_results, folder, ROOT / "docs" / "method.md")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium."""
    from chromium import CHROMIUM, QUIET
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield opened
        opened.close()


@dataclass(frozen=True)
class Said:
    """What a command ended with."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """What it said on standard error, one line and no traceback."""
        assert "Traceback" not in self.err + self.out
        lines = [line for line in self.err.splitlines() if line.startswith("slmbench: ")]
        assert len(lines) == 1, self.err
        assert self.err.rstrip().endswith(lines[0])
        return lines[0]


@pytest.fixture
def slmbench(capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """`slmbench ARGUMENTS` in this process."""
    from slmbench.cli import main

    def call(*arguments: object) -> Said:
        capfd.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Said(code, *capfd.readouterr())

    return call


def interruptible() -> None:
    """Ctrl-C ends a command also where the tests themselves were started in the background, which ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """`slmbench ARGUMENTS` in a process of its own, its output in files."""
    running: list[subprocess.Popen[str]] = []

    def call(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "slmbench.cli", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        with (tmp_path / "stderr").open("w") as errors:
            process = subprocess.Popen(
                command, env=environment, stderr=errors, stdout=errors, text=True, preexec_fn=interruptible
            )
        running.append(process)
        return process

    yield call
    for process in running:
        process.kill()
        process.wait()
