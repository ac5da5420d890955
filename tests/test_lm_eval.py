"""lm-eval's own package on our tasks: the same prompts to the token, the same answers, figures and files."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_verify import made

from slmbench import config
from slmbench.config import Evaluation
from slmbench.core import MOST_TOKENS, Completion, Example, load_task
from slmbench.evaluate import evaluate, make_sample, request, spread
from slmbench.metrics import summarize
from slmbench.publish import write_result
from slmbench.publish.lm_eval import METRICS, document, example_of, field_f1, measured, task_name
from slmbench.template import encode, encode_prompt, prompt_text, target_text

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = ROOT / "integrations" / "lm_eval"
TASKS = ("edge_json", "edge_intent", "edge_func_call")
ROWS = 3

lm_eval = pytest.importorskip("lm_eval")


@pytest.fixture(autouse=True)
def no_look_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """lm-eval lists all that is installed with every result, which takes seconds."""
    monkeypatch.setattr("torch.utils.collect_env.get_pretty_env_info", lambda: "here")


def manager(**metadata: Any) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(CONFIGURATION), include_defaults=False, metadata=metadata)


def lm_eval_run(model: Any, names: Sequence[str], *, rows: dict[str, list[int]] | None = None, **metadata: Any) -> Any:
    tasks = [f"slmbench_{name}" for name in names]
    samples = {f"slmbench_{name}": part for name, part in rows.items()} if rows else None
    return lm_eval.simple_evaluate(
        model=model, tasks=tasks, task_manager=manager(**metadata), samples=samples, bootstrap_iters=1
    )


def speaker(say: Callable[[int, str], str]) -> Any:
    """A model of lm-eval's that answers the N-th prompt with what `say` makes of (N, its text)."""
    from lm_eval.api.model import LM

    class Speaker(LM):
        def __init__(self) -> None:
            super().__init__()
            self.asked: list[tuple[str, dict[str, Any]]] = []

        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
            self.asked = [one.args for one in requests]
            return [say(i, prompt) for i, (prompt, _) in enumerate(self.asked)]

        def loglikelihood(self, requests: Any) -> Any:
            raise AssertionError("nothing is weighed")

        loglikelihood_rolling = loglikelihood

    return Speaker()


@pytest.fixture(scope="module")
def starting(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base with a tokenizer that puts a start token before whatever it reads, as many do."""
    import shutil

    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    folder = Path(shutil.copytree(tiny_folder, tmp_path_factory.mktemp("starting") / "starting"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = TemplateProcessing(single="<|start|> $A", special_tokens=[("<|start|>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("name", TASKS)
def test_the_same_prompts_and_answers(name: str, starting: Path, tmp_path: Path) -> None:
    """Every token that goes in, every budget, and every answer of a model, which is cut at its budget mostly."""
    from lm_eval.models.huggingface import HFLM

    from slmbench import models
    from slmbench.backends.hf import HfBackend

    asked: dict[tuple[int, ...], tuple[int, list[str]]] = {}

    class Recording(HFLM):
        def _model_generate(self, context: Any, max_length: int, stop: list[str], **settings: Any) -> Any:
            asked[tuple(context[0].tolist())] = (max_length - context.shape[1], stop)
            return super()._model_generate(context, max_length, stop, **settings)

    base, task = models.find(str(starting)), load_task(name)
    tokenizer, every = models.load_tokenizer(base), task.load("test")
    assert tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    places = spread(len(every), ROWS)
    examples = [every[i] for i in places]
    encoded = [encode(example, tokenizer, "schema") for example in examples]
    backend = HfBackend(models.load_model(base), tokenizer)
    ours = evaluate(task, backend, examples, encoded, Evaluation(), tmp_path / "samples.jsonl", "test")

    model = Recording(pretrained=models.load_model(base), tokenizer=tokenizer, batch_size=1, add_bos_token=False)
    found = lm_eval_run(model, [name], rows={name: places}, pretrained=str(starting))
    theirs = sorted(found["samples"][f"slmbench_{name}"], key=lambda sample: sample["doc_id"])
    budgets = {row.ids[: row.prompt_tokens]: request(row, Evaluation()).max_new_tokens for row in encoded}
    assert {prompt: budget for prompt, (budget, _) in asked.items()} == budgets
    assert {tuple(stop) for _, stop in asked.values()} == {("<|pad|>", "<|end|>")}
    assert [sample["doc"]["id"] for sample in theirs] == [example.id for example in examples]
    for sample, other in zip(ours, theirs, strict=True):
        # The one difference that stays: lm-eval leaves special tokens in the middle of an answer out of its text.
        assert other["resps"] == [[sample["output"].replace("<|start|>", "")]]
        assert {name: other[name] for name in METRICS} == measured(sample["score"])


OUTPUTS: tuple[Callable[[Example], str], ...] = (
    target_text,
    lambda example: json.dumps(example.target, indent=1),
    lambda example: f"Here: {target_text(example)} Done.",
    lambda example: target_text(example)[:-2],
    lambda example: "{}",
)


@pytest.mark.parametrize("name", TASKS)
def test_the_same_figures_of_the_same_answers(name: str) -> None:
    """Right, right in other words, right but for what stands around it, cut, empty: all rows of the split."""
    task = load_task(name)
    examples = task.load("test")
    outputs = [OUTPUTS[i % len(OUTPUTS)](example) for i, example in enumerate(examples)]
    completions = [
        Completion(e.id, output, (), "stop", 1, 1, None, 0.1, 1) for e, output in zip(examples, outputs, strict=True)
    ]
    ours = [make_sample(task, e, completion) for e, completion in zip(examples, completions, strict=True)]
    model = speaker(lambda i, _: outputs[i])
    found = lm_eval_run(model, [name])
    figures, wanted = found["results"][f"slmbench_{name}"], summarize(ours)
    assert 0.3 < wanted["json_exact"]["value"] < 0.5  # something to get wrong
    for metric in METRICS:
        assert figures[f"{metric},none"] == pytest.approx(wanted[metric]["value"], rel=1e-12), metric
    assert figures["sample_len"] == len(examples)
    assert [prompt for prompt, _ in model.asked] == [prompt_text(e.text, e.schema, "schema") for e in examples]
    # Nothing says which tokenizer it has, so every answer gets the most.
    assert {settings["max_gen_toks"] for _, settings in model.asked} == {MOST_TOKENS}


def test_a_budget_that_is_asked_for_stays() -> None:
    model = speaker(lambda i, _: "{}")
    lm_eval.simple_evaluate(
        model=model, tasks=["slmbench"], task_manager=manager(), limit=2, bootstrap_iters=0,
        gen_kwargs={"max_gen_toks": 5, "until": "abc"},
    )  # fmt: skip
    assert [settings for _, settings in model.asked] == [{"max_gen_toks": 5, "until": ["abc"], "do_sample": False}] * 6


@pytest.mark.parametrize("name", TASKS)
def test_documents_lose_nothing(name: str) -> None:
    task = load_task(name)
    for example in task.load("test"):
        again = example_of(json.loads(json.dumps(document(name, example))))
        assert (again.id, again.text, again.schema_id) == (example.id, example.text, example.schema_id)
        assert prompt_text(again.text, again.schema, "schema") == prompt_text(example.text, example.schema, "schema")
        assert target_text(again) == target_text(example)
        assert task.score(again, Completion(again.id, target_text(example), (), "stop", 1, 1, None, 0.1, 1)).exact


def test_versions_are_the_tasks_own() -> None:
    for name in TASKS:
        text = (CONFIGURATION / f"slmbench_{name}.yaml").read_text()
        assert yaml.safe_load(text)["metadata"] == {"version": load_task(name).version}


@pytest.mark.parametrize(
    ("split", "prompt", "name"),
    [
        ("test", "schema", "slmbench_edge_json"),
        ("test", "plain", "slmbench_edge_json_plain"),
        ("test_styles", "schema", "slmbench_edge_json_test_styles"),
        ("test:30", "schema", "slmbench_edge_json_test_30"),
        ("edge_intent/test", "schema", "slmbench_edge_intent"),
        ("edge_intent/unseen", "schema", "slmbench_edge_intent_unseen"),
        ("data/test.jsonl", "schema", "slmbench_file_test"),
        ("my-rows.v2.jsonl", "plain", "slmbench_file_my_rows_v2_plain"),
    ],
)
def test_names_say_what_was_asked(split: str, prompt: Any, name: str) -> None:
    assert task_name(load_task("edge_json"), config.Test(split, prompt)) == name


def test_leaves_are_pooled() -> None:
    assert field_f1([[1, 2, 2], [3, 3, 6]]) == 2 * 4 / (5 + 8)
    assert field_f1([[0, 0, 0]]) == 0


def settings(task: str, first: str, *others: str) -> dict[str, Any]:
    """Settings of a run whose base is measured on the first split alone."""
    tests: list[dict[str, Any]] = [{"split": first, "prompt": "schema"}]
    tests += [{"split": split, "prompt": "schema", "base": False} for split in others]
    return {"name": "small", "task": task, "prompt": "schema", "data": {"tests": tests}}


def test_a_result_is_written_as_lm_eval_writes_it(tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    """The same answers, written by lm-eval and by us: files of the same names, keys and values."""
    from lm_eval.loggers import EvaluationTracker

    record, samples = made(settings("edge_intent", "test", "unseen"))
    record["weights"]["name"] = "owner/base"
    write_result(tmp_path / "small.json", record, samples)
    said = slmbench("export-results", tmp_path / "small.json", "--out", tmp_path / "ours")
    assert said.code == 0, said.err
    written = sorted(path.relative_to(tmp_path / "ours").as_posix() for path in (tmp_path / "ours").rglob("*.json*"))
    assert written == [
        "owner__base/results_2025-01-02T03-04-05.json",
        "owner__base/samples_slmbench_edge_intent_2025-01-02T03-04-05.jsonl",
        "small/results_2025-01-02T03-04-05.json",
        "small/samples_slmbench_edge_intent_2025-01-02T03-04-05.jsonl",
        "small/samples_slmbench_edge_intent_unseen_2025-01-02T03-04-05.jsonl",
    ]
    assert sorted(Path(line).relative_to(tmp_path / "ours").as_posix() for line in said.out.splitlines()) == written

    outputs = [sample["output"] for sample in samples["test"]["tuned"]]
    tracker = EvaluationTracker(output_path=str(tmp_path / "theirs"))
    found = lm_eval.simple_evaluate(
        model=speaker(lambda i, _: outputs[i]), tasks=["slmbench_edge_intent"], task_manager=manager(),
        evaluation_tracker=tracker, bootstrap_iters=1,
    )  # fmt: skip
    logged = found.pop("samples")
    tracker.save_results_aggregated(found, logged)
    tracker.save_results_samples("slmbench_edge_intent", logged["slmbench_edge_intent"])
    (theirs,), (their_lines,) = (
        list((tmp_path / "theirs").rglob(pattern)) for pattern in ("results_*.json", "samples_*.jsonl")
    )
    shape = re.compile(r"(results|samples_slmbench_edge_intent)_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(\.\d+)?\.jsonl?")
    assert all(shape.fullmatch(Path(name).name) for name in (theirs, their_lines, *written[2:4]))

    ours, other = json.loads((tmp_path / "ours" / written[2]).read_text()), json.loads(theirs.read_text())
    figures = other["results"]["slmbench_edge_intent"]
    assert 0.2 < figures["json_exact,none"] < 0.8
    near = {key: value if isinstance(value, str) else pytest.approx(value, rel=1e-12) for key, value in figures.items()}
    assert ours["results"]["slmbench_edge_intent"] == near
    for key in ("versions", "n-shot", "higher_is_better", "n-samples", "task_hashes"):
        assert ours[key]["slmbench_edge_intent"] == other[key]["slmbench_edge_intent"], key
    assert other.keys() - ours.keys() == set()
    assert other["config"].keys() - ours["config"].keys() == set()
    config, their_config = ours["configs"]["slmbench_edge_intent"], other["configs"]["slmbench_edge_intent"]
    for key in ("task", "dataset_kwargs", "test_split", "output_type", "generation_kwargs", "num_fewshot", "repeats"):
        assert config[key] == their_config[key], key
    lines = [
        [json.loads(line) for line in path.read_text().splitlines()]
        for path in (tmp_path / "ours" / written[3], their_lines)
    ]
    assert len(lines[0]) == len(outputs)
    for own, line in zip(*lines, strict=True):
        assert list(own) == list(line)
        # The budget follows from a tokenizer, which a record does not have.
        assert line["arguments"]["gen_args_0"]["arg_1"].pop("max_gen_toks") == MOST_TOKENS
        assert own == line


def test_a_test_set_that_is_not_here_is_left_out(tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    path = tmp_path / "gone.jsonl"
    rows = [{"id": f"r{n}", "schema_id": "s", "text": f"Size {n}", "target": f'{{"n":{n}}}'} for n in (1, 2)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    record, samples = made(settings("edge_json", str(path), "test_styles"))
    write_result(tmp_path / "small.json", record, samples)
    path.write_text(path.read_text().replace("Size 2", "Size two"))
    said = slmbench("export-results", tmp_path / "small.json", "--out", tmp_path / "out")
    assert said.code == 2
    assert "gone is not the data that was answered" in said.sentence
    path.unlink()
    said = slmbench("export-results", tmp_path / "small.json", "--out", tmp_path / "out")
    assert said.code == 0
    assert "gone is left out: " in said.err
    assert [name.parent.name for name in (tmp_path / "out").rglob("samples_*")] == ["small"]


def test_a_run_named_as_its_base_keeps_both(tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    record, samples = made(settings("edge_json", "test_styles"))
    named = {**record, "name": record["weights"]["name"]}
    samples = {test: {stage: parts[stage] if stage in parts else parts["tuned"] for stage in ("tuned", "base")}
               for test, parts in samples.items()}  # fmt: skip
    write_result(tmp_path / "one.json", named, samples)
    said = slmbench("export-results", tmp_path / "one.json", "--out", tmp_path / "out")
    assert said.code == 0, said.err
    assert len({path.parent for path in (tmp_path / "out").rglob("results_*")}) == 2


def test_what_differs_is_said_token_by_token(tiny_folder: Path) -> None:
    from lm_eval_agreement import lines, why

    from slmbench import models

    base = models.find(str(tiny_folder))
    model, tokenizer = models.load_model(base), models.load_tokenizer(base)
    row = encode(load_task("edge_intent").load("test")[0], tokenizer, "schema")
    own = Completion(row.id, "", (50, 60, 70, tokenizer.eos_token_id), "stop", 1, 4, None, 0.1, 1)
    said = why(model, row, own, (50, 61, 70), tokenizer)
    pattern = r"token 2: ('.*') or ('.*'), logits (\S+) and (\S+), (\S+) apart, where a step of float32 is (\S+)"
    first, second, mine, theirs, apart, step = re.fullmatch(pattern, said).groups()  # type: ignore[union-attr]
    assert (first, second) == (repr(tokenizer.decode([60])), repr(tokenizer.decode([61])))
    assert float(apart) == pytest.approx(abs(float(mine) - float(theirs)), abs=2e-4) and float(apart) > 0
    assert 0 < float(step) < 1e-5
    assert why(model, row, own, None, tokenizer) == "asked with another prompt"
    assert why(model, row, own, own.token_ids[:2], tokenizer).endswith("as far as both go: 4 and 2 of them")
    # The end token and the padding token end an answer alike.
    ended = (*own.token_ids[:3], tokenizer.pad_token_id)
    assert why(model, row, own, ended, tokenizer) == "the same tokens, decoded otherwise"

    side = {"json_exact": {"k": 1, "n": 2, "value": 0.5, "low": 0.1, "high": 0.9, "share": True}, "field_f1": 0.25}
    side |= {"schema_compliance": side["json_exact"], "seconds": 3}
    part = {"id": "row-7", "reason": "for no reason", "slmbench": "mine", "lm-eval": "theirs"}
    result = {"task": "edge_json", "rows": 2, "precision": "fp32", "same_prompts": 2, "differing": [part]}
    text = "\n".join(lines({**result, "sides": {"slmbench": side, "lm-eval": side}}))
    for expected in (
        "50.0 % (1/2; 10.0–90.0)",
        "differ: 1 of 2",
        "row-7: for no reason",
        "slmbench mine",
        "lm-eval  theirs",
    ):
        assert expected in text


def test_a_run_that_was_not_exported_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from lm_eval_agreement import main

    (tmp_path / "recipe.yaml").write_text("")
    assert main([str(tmp_path)]) == 2
    assert "not exported yet; give slmbench export" in capsys.readouterr().err


def readme_command() -> list[str]:
    """What stands behind `lm-eval`."""
    (line,) = re.findall(r"^lm-eval run .*$", (CONFIGURATION / "README.md").read_text(), re.MULTILINE)
    return shlex.split(line)[1:]


def test_the_command_of_the_readme(tiny_folder: Path, tmp_path: Path) -> None:
    """As it stands, with the tiny base for the model, in a process of its own and without a network."""
    from slmbench import models

    command = [word.replace("runs/edge_json_135m/export/merged", str(tiny_folder)) for word in readme_command()]
    command = [word.replace("results_lm_eval", str(tmp_path)) for word in command]
    assert str(tmp_path) in command and any(str(tiny_folder) in word for word in command)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PYTHONPATH": str(ROOT / "src")}
    ended = subprocess.run(
        [sys.executable, "-m", "lm_eval", *command, "--limit", "2"],
        capture_output=True, text=True, env=environment, cwd=ROOT, timeout=280, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    (path,) = tmp_path.rglob("samples_slmbench_edge_json_*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    tokenizer = models.load_tokenizer(models.find(str(tiny_folder)))
    examples = load_task("edge_json").load("test")[:2]
    assert [line["doc"]["id"] for line in lines] == [example.id for example in examples]
    for line, example in zip(lines, examples, strict=True):
        asked = line["arguments"]["gen_args_0"]
        assert tokenizer(asked["arg_0"], add_special_tokens=False)["input_ids"] == [
            *encode_prompt(example, tokenizer, "schema")
        ]
        budget = request(encode(example, tokenizer, "schema"), Evaluation()).max_new_tokens
        assert asked["arg_1"]["max_gen_toks"] == budget


def test_the_program_of_the_readme(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands, with the tiny base for the model and two documents."""
    text = (CONFIGURATION / "README.md").read_text()
    (shown,) = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    for stands, here in (("runs/edge_json_135m/export/merged", str(tiny_folder)), ("limit=10", "limit=2")):
        assert shown.count(stands) == 1
        shown = shown.replace(stands, here)
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    exec(compile(shown, "README.md", "exec"), names)
    found = names["results"]
    assert len(found["samples"]["slmbench_edge_json"]) == 2
    assert found["results"]["slmbench_edge_json"]["json_exact,none"] == 0
