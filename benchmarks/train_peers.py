"""How fast LoRA trains here, beside the ways it is commonly done: same rows, base, adapter and examples an update.

    seed_recipe  Hugging Face Trainer: rows padded to 1,024 and cut there, batch 4, loss on every token, dropout 0.1
    trl          TRL's SFTTrainer at the fastest settings that --tune found: completions only, sorted by length
    ours         slmbench.train, as `slmbench run` uses it

Each trains in a process of its own, one after the other, so that its peak memory is its own. Timed are the updates, the
first one too; loading is not. Afterwards one function measures every adapter's loss on the same held-out rows.
trl needs: pip install 'slmbench[peers]'

    python benchmarks/train_peers.py --quick
    python benchmarks/train_peers.py --data rows.jsonl --rows 64 --out results/speed/rows.json
    python benchmarks/train_peers.py --show results/speed/rows.json
"""

from __future__ import annotations

import argparse
import importlib.metadata
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from slmbench import budget, memory, models
from slmbench.config import Adapter, Recipe, Training
from slmbench.core import BadInput, SlmbenchError
from slmbench.data import read_examples
from slmbench.evaluate import spread
from slmbench.files import json_text, read_json, write_atomic
from slmbench.progress import progress, say
from slmbench.publish.tables import markdown_table
from slmbench.tasks.edge_json import TASK
from slmbench.template import Encoded, encode, prompt_text, target_text
from slmbench.weights import BaseModel

PEERS = ("seed_recipe", "trl", "ours")
UPDATE_EXAMPLES = 32
LEARNING_RATE = 2e-4
WARMUP = 0.1
SEED = 42
VALIDATION_ROWS, QUICK_VALIDATION_ROWS = 32, 8

SEED_LENGTH, SEED_BATCH, SEED_DROPOUT = 1024, 4, 0.1


class Layout(NamedTuple):
    """How trl lays rows out: rows a batch, padded or one after the other (padding-free), and the attention's name."""

    batch: int = 1
    padding_free: bool = False
    attention: str = "sdpa"

    def __str__(self) -> str:
        return f"batch {self.batch}, {'padding-free' if self.padding_free else 'sorted by length'}, {self.attention}"


LAYOUTS = (
    Layout(1), Layout(2), Layout(4), Layout(8), Layout(2, True), Layout(4, True),
    Layout(1, attention="eager"), Layout(2, attention="eager"),
)  # fmt: skip
"""What --tune tries. The default is the first. One update on one AVX512-BF16 core, samples/s (peak GiB):

    32 rows of EdgeJSON, 217 tokens on average: batch 1 0.95 (1.9), batch 2 0.86 (3.2), batch 4 0.69 (5.6), batch 2
    padding-free 0.85 (2.7), batch 1 eager 1.06 (2.4), batch 2 eager 1.00 (3.9); ours 2.07 (2.1).
    8 rows of up to 1,031 tokens, 365 on average: batch 1 0.49 (2.5), batch 2 padding-free 0.38 (4.2), batch 1 eager
    0.39 (4.2), batch 2 eager 0.20 (8.7); ours 0.92 (2.0).

Alone in its batch a row has no padding, so no mask, and keeps the fused causal attention. Padding-free needs no
flash-attention here: transformers masks the other rows, whose products are then computed in vain.
"""

SMOLLM2_135M: dict[str, Any] = {
    "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"}, "tie_word_embeddings": True,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
PROMPT_CHARACTERS, COMPLETION_CHARACTERS = 2.7, 2.3
"""Characters a token of SmolLM2's tokenizer on EdgeJSON: what random tokens are counted by."""


class Job(NamedTuple):
    """What all peers train on: one pass over `rows` in updates of `examples`."""

    base: str
    precision: memory.Precision
    device: str
    examples: int
    rows: tuple[Encoded, ...]
    validation: tuple[Encoded, ...]
    layout: Layout = Layout()

    @property
    def updates(self) -> int:
        return len(self.rows) // self.examples

    def write(self, folder: Path) -> None:
        rows = {part: [asdict(row) for row in getattr(self, part)] for part in ("rows", "validation")}
        write_atomic(folder / "job.json", json_text({**self._asdict(), **rows}, indent=None))


def read_job(folder: Path) -> Job:
    """The job that `prepare` wrote."""
    raw = read_json(folder / "job.json", "run the benchmark again")
    for part in ("rows", "validation"):
        raw[part] = tuple(Encoded(row["id"], tuple(row["ids"]), row["prompt_tokens"]) for row in raw[part])
    return Job(**{**raw, "layout": Layout(*raw["layout"])})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the peers and print a table, or JSON; the exit code is 0, 1 where no peer ran, 2 for bad input."""
    arguments = parser().parse_args(argv)
    if arguments.process:
        return process(arguments.process[0], Path(arguments.process[1]))
    try:
        if arguments.show:
            print(table(read_json(arguments.show, "give a file that --out wrote")))
            return 0
        with tempfile.TemporaryDirectory(prefix="train-peers-") as folder:
            record = tune(arguments, Path(folder)) if arguments.tune else measure(arguments, Path(folder))
    except SlmbenchError as error:
        say(f"train_peers: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say("train_peers: interrupted; nothing was written.")
        return 1
    print(table(record), file=sys.stderr if arguments.json else sys.stdout)
    if arguments.json:
        print(json_text(record), end="")
    if arguments.out:
        write_atomic(arguments.out, json_text(record))
    return 0 if any("error" not in run for run in record["runs"].values()) else 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = top.add_argument_group("what is trained on")
    what.add_argument("--data", action="append", metavar="FILE", help="JSONL or CSV rows, again for more (EdgeJSON)")
    what.add_argument("--rows", type=positive, default=64, help="rows, evenly spaced over the data (64)")
    what.add_argument("--updates", type=positive, help=f"updates of {UPDATE_EXAMPLES} rows (one pass over the rows)")
    what.add_argument("--prompt", choices=("plain", "schema"), default="plain", help="the prompt's style (plain)")
    what.add_argument("--base", default="smollm2-135m", help="a base model's name or folder (smollm2-135m)")
    what.add_argument("--random-weights", action="store_true", help="a random model of SmolLM2-135M's shape: as fast")
    how = top.add_argument_group("how it is run")
    how.add_argument("--quick", action="store_true", help="one update of 16 rows, within minutes")
    how.add_argument("--only", action="append", choices=PEERS, help="this peer, again for more (all)")
    how.add_argument(
        "--trl-attention",
        choices=("sdpa", "eager"),
        default="sdpa",
        help="trl's attention: eager can win on short rows",
    )
    how.add_argument("--tune", action="store_true", help="instead: trl's settings against each other, one update each")
    shown = top.add_argument_group("what is shown")
    shown.add_argument("--json", action="store_true", help="JSON on standard output, the table on standard error")
    shown.add_argument("--out", type=Path, metavar="FILE", help="also write the JSON there (not beside runs' results)")
    shown.add_argument("--show", type=Path, metavar="FILE", help="print the table of a file that --out wrote, and end")
    top.add_argument("--process", nargs=2, help=argparse.SUPPRESS)
    return top


def positive(text: str) -> int:
    """A whole number from 1 up."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Every peer in its own process, then the loss of all their adapters; the record that --json prints."""
    names = [name for name in PEERS if name in (arguments.only or PEERS)]
    facts = prepared(arguments, folder)
    runs: dict[str, dict[str, Any]] = {}
    for position, name in enumerate(names, start=1):
        say(f"train_peers: {name}, {position} of {len(names)}")
        runs[name] = call(name, folder)
        if "error" in runs[name]:
            say(f"train_peers: {name}: {runs[name]['error']}")
    scores = checked(call("score", folder))
    for name, loss in scores["losses"].items():
        runs[name]["validation_loss"] = loss
    good = {name: run for name, run in runs.items() if "error" not in run}
    ours = good.get("ours")
    if ours:
        floor = 4 * facts["parameters"] * ours["tokens"] / scores["gemm_flops"]
        ours["gemm_floor_share"] = floor / ours["seconds"]
    others = [name for name in good if ours and name != "ours"]
    return {
        "ratio": {name: ours["samples_per_s"] / good[name]["samples_per_s"] for name in others if ours},
        "memory_ratio": {name: ours["peak_gib"] / good[name]["peak_gib"] for name in others if ours},
        "runs": runs,
        **facts,
        "base_validation_loss": scores["base_loss"],
        "gemm_flops": scores["gemm_flops"],
    }


def tune(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One update of trl at each of its settings."""
    arguments.updates = 1
    facts = prepared(arguments, folder)
    job = read_job(folder)
    runs = {}
    for layout in LAYOUTS:
        if layout.batch <= job.examples:
            job._replace(layout=layout).write(folder)
            say(f"train_peers: trl, {layout}")
            runs[f"trl, {layout}"] = call("trl", folder)
    return {"ratio": {}, "memory_ratio": {}, "runs": runs, **facts}


def prepared(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Have the job written; the facts that the record holds."""
    request = {key: value for key, value in vars(arguments).items() if key not in ("out", "show", "process")}
    write_atomic(folder / "request.json", json_text(request))
    return checked(call("prepare", folder))


def checked(result: dict[str, Any]) -> dict[str, Any]:
    """The result of a process without which nothing can be measured."""
    if "error" in result:
        raise (BadInput if result.get("code") == BadInput.exit_code else SlmbenchError)(result["error"])
    return result


def call(role: str, folder: Path) -> dict[str, Any]:
    """Run one role in a fresh process: its result, or {"error": one sentence}. Its own words go to standard error."""
    result = folder / f"{role}.json"
    result.unlink(missing_ok=True)
    # Whatever the job needs is on this machine once it is prepared; a peer that asks the Hub only waits.
    offline = {} if role == "prepare" else {"HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), "--process", role, str(folder)]
    ended = subprocess.run(command, env={**os.environ, **offline}, stdout=sys.stderr, check=False)
    if result.exists():
        return read_json(result, "run the benchmark again")
    if ended.returncode == -signal.SIGKILL:
        return {"error": "killed by the system, most likely for want of memory: give it a machine with more"}
    return {"error": f"ended with exit code {ended.returncode} and no result"}


def process(role: str, folder: Path) -> int:
    """One role, in this process: writes its result, or the error as one sentence."""
    try:
        result = ROLES[role](folder)
    except SlmbenchError as error:
        result = {"error": str(error), "code": error.exit_code}
    except ModuleNotFoundError as error:
        result = {"error": f"{error.name} is not installed: pip install 'slmbench[peers]'"}
    except Exception as error:
        # Another project's failure is a line in the table: the peers after it still run.
        result = {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"}
    write_atomic(folder / f"{role}.json", json_text(result))
    return 0


def prepare(folder: Path) -> dict[str, Any]:
    """Find the base, choose and encode the rows, write the job."""
    request = read_json(folder / "request.json", "run the benchmark again")
    base = random_base(folder / "base") if request["random_weights"] else models.find(request["base"])
    if not request["data"]:
        examples = TASK.load("train")
    else:
        examples = [example for path in request["data"] for example in read_examples(Path(path))]
    count = min(16 if request["quick"] else request["rows"], len(examples))
    update = min(UPDATE_EXAMPLES, count)
    updates = request["updates"] or (1 if request["quick"] else count // update)
    chosen = spread(len(examples), min(count, updates * update))
    rest = sorted(set(range(len(examples))) - set(chosen))
    if not rest:
        raise BadInput(f"--rows {count}: none of the data's {len(examples)} rows is left to validate on; give fewer.")
    held = [rest[i] for i in spread(len(rest), QUICK_VALIDATION_ROWS if request["quick"] else VALIDATION_ROWS)]
    tokens = random_tokens if (base.folder / "random_tokens").exists() else encoder(base)
    rows = [tokens(examples[i], request["prompt"]) for i in chosen]
    device = memory.best_device()
    job = Job(
        base=str(base.folder) if request["random_weights"] else request["base"],
        precision=memory.best_dtype(),
        device=device,
        examples=update,
        rows=tuple(rows[i % len(rows)] for i in range(updates * update)),
        validation=tuple(tokens(examples[i], request["prompt"]) for i in held),
        layout=Layout(attention=request["trl_attention"]),
    )
    job.write(folder)
    return {
        "data": [Path(path).name for path in request["data"] or ["train"]],
        "rows": len(rows),
        "validation_rows": len(held),
        "updates": updates,
        "update_examples": update,
        "prompt": request["prompt"],
        "precision": job.precision,
        "device": device,
        "weights": base.facts(),
        "parameters": base.parameters,
        "threads": threads(),
        "machine": memory.machine(),
    }


def encoder(base: BaseModel) -> Callable[..., Encoded]:
    """Example and prompt style -> tokens."""
    tokenizer = models.load_tokenizer(base)
    return lambda example, style: encode(example, tokenizer, style)


def random_tokens(example: Any, style: Any) -> Encoded:
    """Random tokens, as many as the example would have."""
    prompt = round(len(prompt_text(example.text, example.schema, style)) / PROMPT_CHARACTERS)
    count = prompt + round(len(target_text(example)) / COMPLETION_CHARACTERS)
    draw = random.Random(f"{SEED}:{example.id}")
    eos = SMOLLM2_135M["eos_token_id"]
    ids = tuple(draw.randrange(3, SMOLLM2_135M["vocab_size"]) for _ in range(count))
    return Encoded(example.id, (*ids, eos), prompt)


def random_base(folder: Path) -> BaseModel:
    """A random model of SmolLM2-135M's shape with its tokenizer, or a stand-in where that is not on the machine."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(SEED)
    LlamaForCausalLM(LlamaConfig(**SMOLLM2_135M)).save_pretrained(folder)
    try:
        models.load_tokenizer(models.find("smollm2-135m", offline=True)).save_pretrained(folder)
    except SlmbenchError:
        special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
        names = [*special.values(), *map(str, range(3, SMOLLM2_135M["vocab_size"]))]
        vocabulary = WordLevel({name: i for i, name in enumerate(names)}, unk_token="<pad>")
        PreTrainedTokenizerFast(tokenizer_object=Tokenizer(vocabulary), **special).save_pretrained(folder)
        (folder / "random_tokens").touch()
    return models.find(str(folder))


def recipe_of(job: Job, dropout: float = 0.0) -> Recipe:
    """The job as a recipe: the adapter is the default one, r 16 on all seven projections."""
    training = Training(
        epochs=1, learning_rate=LEARNING_RATE, warmup=WARMUP, update_examples=job.examples, precision=job.precision
    )
    return Recipe("train_peers", base=job.base, seed=SEED, adapter=Adapter(dropout=dropout), train=training)


def adapted(job: Job, dropout: float = 0.0) -> Any:
    """The base with a fresh adapter, the same one for every peer."""
    from slmbench import train

    return train.attach_adapter(
        models.load_model(models.find(job.base), job.precision, job.device), recipe_of(job, dropout)
    )


def ours(folder: Path) -> dict[str, Any]:
    """`slmbench.train`, as the pipeline calls it; its time includes writing the checkpoint, which the peers do not."""
    from slmbench import train

    job = read_job(folder)
    recipe, model = recipe_of(job), adapted(job)
    pad = models.load_tokenizer(models.find(job.base)).pad_token_id
    trainer = train.Trainer(recipe, model, job.rows, [], pad, folder / "training", {})
    started = time.perf_counter()
    figures = trainer.run()
    seconds = clock(job) - started
    note = f"gradients {trainer.step.name}, {recipe.train.micro_tokens:,} tokens a pass"
    return finished(job, "ours", model, folder, seconds, [figures["first_loss"], figures["final_loss"]], note)


def seed_recipe(folder: Path) -> dict[str, Any]:
    """The earlier recipe. No end token, and its pad is the end token, which is masked: loss on all else."""
    from transformers import Trainer, TrainingArguments, default_data_collator

    job = read_job(folder)
    eos = models.load_tokenizer(models.find(job.base)).eos_token_id
    rows = []
    for row in job.rows:
        ids = row.ids[:-1][:SEED_LENGTH]
        short = SEED_LENGTH - len(ids)
        rows.append(
            {
                "input_ids": [*ids, *[eos] * short],
                "attention_mask": [1] * len(ids) + [0] * short,
                "labels": [-100 if token == eos else token for token in ids] + [-100] * short,
            }
        )
    model = adapted(job, SEED_DROPOUT)
    arguments = TrainingArguments(**hf_arguments(job, folder, SEED_BATCH))
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, data_collator=default_data_collator)
    seconds, losses = timed(trainer, job, "seed_recipe")
    cut = sum(len(row.ids) - 1 > SEED_LENGTH for row in job.rows)
    note = f"batch {arguments.per_device_train_batch_size}, padded to {SEED_LENGTH:,} tokens, {cut} rows cut there"
    tokens = sum(min(len(row.ids) - 1, SEED_LENGTH) for row in job.rows)
    return finished(job, "seed_recipe", model, folder, seconds, losses, note, tokens)


def trl(folder: Path) -> dict[str, Any]:
    """TRL's SFTTrainer on our tokens and labels, with our learning rate at each update.

    Its loss never builds all logits (1.16: the default, once `chunked_nll`). Not used: packing, which changes how many
    examples an update holds, and `use_liger_kernel`, which needs a GPU and leaves the loss alone since 1.16.
    """
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from slmbench import train

    job = read_job(folder)
    model = adapted(job)
    model.get_base_model().set_attn_implementation(job.layout.attention)
    labels = [[-100] * row.prompt_tokens + list(row.ids[row.prompt_tokens :]) for row in job.rows]
    arguments = SFTConfig(
        **hf_arguments(job, folder, job.layout.batch),
        max_length=None,
        completion_only_loss=True,
        padding_free=job.layout.padding_free,
        train_sampling_strategy="group_by_length",
        activation_checkpointing=False,
    )
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=LEARNING_RATE, weight_decay=0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda update: train.learning_rate(update, job.updates, 1.0, WARMUP)
    )
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict({"input_ids": [list(row.ids) for row in job.rows], "labels": labels}),
        processing_class=models.load_tokenizer(models.find(job.base)),
        optimizers=(optimizer, schedule),
    )
    seconds, losses = timed(trainer, job, "trl")
    note = f"TRL {importlib.metadata.version('trl')}, {job.layout}"
    return finished(job, "trl", model, folder, seconds, losses, note)


def hf_arguments(job: Job, folder: Path, batch: int) -> dict[str, Any]:
    """What the arguments of both Hugging Face trainers have in common."""
    batch = math.gcd(batch, job.examples)
    return {
        "output_dir": str(folder / "hf"),
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": job.examples // batch,
        "num_train_epochs": 1,
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "cosine",
        "warmup_steps": WARMUP,
        "bf16": job.precision == "bf16",
        "use_cpu": job.device == "cpu",
        "seed": SEED,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def timed(trainer: Any, job: Job, name: str) -> tuple[float, list[float]]:
    """Train with a Hugging Face trainer: seconds from the first batch to the last update, and the updates' losses."""
    from transformers import PrinterCallback, TrainerCallback

    times, losses = [0.0, 0.0], []
    batch = trainer.args.per_device_train_batch_size
    with progress(name, len(job.rows), "rows") as advance:

        class Clock(TrainerCallback):  # type: ignore[misc]
            def on_train_begin(self, *_: Any, **__: Any) -> None:
                times[0] = time.perf_counter()

            def on_substep_end(self, *_: Any, **__: Any) -> None:
                advance(batch, "")

            def on_step_end(self, *_: Any, **__: Any) -> None:
                times[1] = clock(job)
                advance(batch, "")

            def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
                losses.extend([logs["loss"]] if "loss" in logs else [])

        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(Clock)
        trainer.train()
    return times[1] - times[0], losses


def clock(job: Job) -> float:
    """The time, once the device has done what it was given."""
    if job.device == "cuda":
        import torch

        torch.cuda.synchronize()
    return time.perf_counter()


def finished(
    job: Job, name: str, model: Any, folder: Path, seconds: float, losses: Sequence[float], note: str,
    tokens: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Save the adapter; the figures of a run. `tokens` are those seen, without padding: all, if not given."""
    import torch

    cpu = memory.peak_rss_gib()
    gpu = torch.cuda.max_memory_allocated() / 2**30 if job.device == "cuda" else None
    tokens = sum(len(row.ids) for row in job.rows) if tokens is None else tokens
    models.save_adapter(model, folder / f"adapter-{name}", models.find(job.base))
    return {
        "seconds": seconds,
        "updates": job.updates,
        "samples": len(job.rows),
        "tokens": tokens,
        "samples_per_s": len(job.rows) / seconds,
        "tokens_per_s": tokens / seconds,
        "peak_gib": cpu if gpu is None else gpu,
        "peak_rss_gib": cpu,
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "threads": threads(),
        "note": note,
    }


def score(folder: Path) -> dict[str, Any]:
    """The validation loss of the base and of every adapter that was saved, and the speed of matrix products here."""
    from slmbench import train
    from slmbench.padded import PaddedStep

    job = read_job(folder)
    base = models.find(job.base)
    pad = models.load_tokenizer(base).pad_token_id
    losses: dict[str | None, float] = {}
    for name in (None, *PEERS):
        model = models.load_model(base, job.precision, job.device)
        if name is None:  # a fresh adapter changes nothing
            model = train.attach_adapter(model, recipe_of(job))
        elif (folder / f"adapter-{name}").is_dir():
            model = models.load_adapter(model, folder / f"adapter-{name}", base, trainable=True)
        else:
            continue
        losses[name] = train.validation_loss(PaddedStep(model, pad), job.validation, Training().micro_tokens)
    speed = budget.calibrate(job.precision, job.device)
    return {"base_loss": losses.pop(None), "losses": losses, "gemm_flops": speed.flops}


def threads() -> int:
    """Threads that torch computes with."""
    import torch

    return torch.get_num_threads()


def table(record: dict[str, Any]) -> str:
    """The record as a Markdown table, with what it was measured on below."""
    rows = []
    for name, run in record["runs"].items():
        if "error" in run:
            rows.append([name, *["–"] * 7, run["error"]])
            continue
        ratio, less = record["ratio"].get(name), record["memory_ratio"].get(name)
        rows.append(
            [
                name,
                f"{run['samples_per_s']:.3f}",
                f"{run['tokens_per_s']:,.0f}",
                f"{run['seconds']:.1f}",
                f"{run['peak_gib']:.2f}",
                f"{run['validation_loss']:.4f}" if "validation_loss" in run else "–",
                f"{ratio:.2f}" if ratio else "–",
                f"{less:.2f}" if less else "–",
                run["note"],
            ]
        )
    head = ["", "samples/s", "tokens/s", "seconds", "peak GiB", "validation loss", "ours, times as fast"]
    machine = record["machine"]
    where = ", ".join([machine["cpu"], *(gpu["name"] for gpu in machine["gpus"])])
    lines = [
        markdown_table([*head, "ours, share of memory", "how"], rows),
        "",
        f"{record['updates']} × {record['update_examples']} rows of {', '.join(record['data'])}, {record['prompt']} "
        f"prompt, {record['precision']}; {where}; threads: {record['threads']}.",
    ]
    if "base_validation_loss" in record:
        lines[-1] += f" Base: validation loss {record['base_validation_loss']:.4f}."
        lines[-1] += f" Matrix products: {record['gemm_flops'] / 1e9:.0f} GFLOP/s"
        share = record["runs"].get("ours", {}).get("gemm_floor_share")
        lines[-1] += f", {100 * share:.0f} % of ours." if share else "."
    return "\n".join(lines)


ROLES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "prepare": prepare,
    "seed_recipe": seed_recipe,
    "trl": trl,
    "ours": ours,
    "score": score,
}


if __name__ == "__main__":
    sys.exit(main())
