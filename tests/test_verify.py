"""A result is checked to the last figure: whatever is changed in it, in its samples or in the data is noticed."""

from __future__ import annotations

import copy
import gzip
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slmbench import publish
from slmbench.config import recipe_of
from slmbench.core import BadInput, Completion, Example, load_task
from slmbench.data import data_hash
from slmbench.evaluate import make_sample, spread
from slmbench.pipeline import asked_examples
from slmbench.publish import load_record, load_samples, samples_path, split_record, value_sha256, write_result
from slmbench.publish.stored import unpack
from slmbench.runs import code_hash
from slmbench.schema import leaves
from slmbench.template import prompt_hash, target_text
from slmbench.verify import (
    WHOLE,
    Verdict,
    check,
    differences,
    equal,
    is_number,
    own_hashes,
    recomputed,
    results_of,
    verify,
)

ROOT = Path(__file__).resolve().parents[1]
RESULTS = sorted((ROOT / "results").glob("*.json"))
# What a record says that follows from no sample, as docs/method.md lists it.
UNCHECKED = {"machine", "weights", "adapter", "training", "seconds", "peak_memory_gib", "hardware", "data"}
SETTINGS: dict[str, Any] = {
    "name": "small",
    "task": "edge_intent",
    "prompt": "schema",
    "data": {
        "limit": 30,  # ten rows of each test set
        "tests": [{"split": "test", "prompt": "schema"}, {"split": "unseen", "prompt": "schema", "base": False}],
    },
    "evaluate": {"latency_rows": 2},
}
OUTPUTS: tuple[Callable[[Example], str], ...] = (
    target_text,
    lambda example: '{"intent":"lights_on"}',
    lambda example: f"Here: {target_text(example)} Done.",
    lambda example: '{"intent":"',
)
Samples = dict[str, dict[str, list[dict[str, Any]]]]


def answered(example: Example, output: str, batch: int = 4) -> dict[str, Any]:
    first = 0.1234 if batch == 1 else None
    finish = "stop" if output.endswith(("}", ".")) else "length"
    task = load_task("edge_intent")
    return make_sample(task, example, Completion(example.id, output, (), finish, 40, 9, first, 0.75, batch))


def made(settings: dict[str, Any] = SETTINGS) -> tuple[dict[str, Any], Samples]:
    """A record and its samples as a run makes them, without a model."""
    recipe = recipe_of(settings, "settings")
    task = load_task(recipe.task)
    examples = {test.name: asked_examples(recipe, task, test) for test in recipe.data.tests}
    samples: Samples = {}
    for test in recipe.data.tests:
        rows = examples[test.name]
        outputs = [OUTPUTS[i % len(OUTPUTS)](example) for i, example in enumerate(rows)]
        stages = {"tuned": [answered(e, output) for e, output in zip(rows, outputs, strict=True)]}
        if test.base:
            stages["base"] = [answered(e, OUTPUTS[1](e)) for e in rows]
            timed = spread(len(rows), recipe.evaluate.latency_rows)
            stages["timed"] = [answered(rows[i], outputs[i], 1) for i in timed]
        samples[test.name] = stages
    record = publish.build_record(
        name=recipe.name,
        created="2025-01-02T03:04:05Z",
        recipe=recipe.to_dict(),
        machine={"cpu": "Example CPU", "cores": 2},
        weights={"name": "smollm2-135m", "origin": "here", "parameters": 134515008},
        adapter={"parameters": 4884480},
        data={"train": {"rows": 20, "skipped": 0}, **{n: {"rows": len(e), "skipped": 0} for n, e in examples.items()}},
        prompt={"style": "schema"},
        tests={test.name: split_record(test.prompt, samples[test.name], task) for test in recipe.data.tests},
        training={"updates": 2, "final_loss": 1.25, "validation_losses": [1.5]},
        seconds={"train": 12.5},
        peak_memory_gib=3.21,
        hashes={
            "recipe": value_sha256(recipe.to_dict()),
            "data": {"train": "ab" * 32, **{name: data_hash(part) for name, part in examples.items()}},
            "prompt": {"schema": prompt_hash("schema")},
            **{"weights": "cd" * 32, "tokenizer": "ef" * 32, "adapter": "01" * 32, "code": code_hash()},
        },
    )
    return record, samples


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a small result; not to be written to."""
    path = tmp_path_factory.mktemp("small") / "small.json"
    write_result(path, *made())
    return path


@pytest.fixture
def changed(small: Path, tmp_path: Path) -> Callable[..., Verdict]:
    """What is said of the small result after its samples were changed, its hashes made to fit."""

    def change(how: Callable[[Samples], Any]) -> Verdict:
        record = load_record(small)
        samples = copy.deepcopy(dict(load_samples(small, record)))
        how(samples)
        write_result(tmp_path / "changed.json", record, samples)
        return verify(tmp_path / "changed.json")

    return change


def places(verdict: Verdict) -> set[str]:
    return {difference.place for difference in verdict.differences}


# ---- what is published


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_published_result_is_what_its_samples_give(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # where the files of a recipe are, if they are
    verdict = verify(path)
    assert verdict.differences == []
    assert verdict.figures > 150 and verdict.samples > 150 and verdict.unchecked >= 3
    assert path.name == f"{load_record(path)['name']}.json"


def test_results_are_records_with_their_samples_and_nothing_else() -> None:
    assert RESULTS
    files = {path.name for path in (ROOT / "results").iterdir() if path.is_file()}
    assert files == {name for path in RESULTS for name in (path.name, samples_path(path).name)}
    for path in RESULTS:
        packed = samples_path(path).read_bytes()
        # Hashes are of the bytes in the file, which another compressor would not write; the content is compared.
        assert gzip.decompress(publish.stored.pack(unpack(packed, path))) == gzip.decompress(packed)


# ---- all is well


def test_a_result_is_recomputed_and_what_is_not_is_counted(small: Path) -> None:
    verdict = verify(small)
    record = load_record(small)
    assert verdict.ok and verdict.samples == record["samples"]["rows"] == 10 + 10 + 2 + 10
    assert verdict.figures == sum(is_number(v) for k, v in leaves(record) if k[0] in ("tests", "metrics", "base"))
    # cores, parameters of weights and adapter, rows and skipped of train, updates, two losses, seconds, memory
    assert verdict.unchecked == 10
    said = f"{small}: ok, {verdict.figures} figures recomputed from 32 samples, 10 that follow from none"
    assert verdict.lines() == [f"{said} (docs/method.md) not checked"]


def test_the_last_digits_are_another_machines(small: Path) -> None:
    assert equal(0.1 + 0.2, 0.3, ("value",)) and equal(1e-17, 0.0, ("difference",))
    assert not equal(0.3, 0.3000001, ("value",)) and not equal(2e-20, 3e-20, ("p",))
    assert not equal(1.0, 1, ("k",)) and not equal(1, True, ("k",)) and not equal(None, 0.0, ("p50_s",))


# ---- whatever is changed in a record


def mutations(record: dict[str, Any]) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """(path, the record with the number there changed) for every number of a record; the same object each time."""
    for path, value in leaves(record):
        if is_number(value):
            place: Any = record
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value + (1 if isinstance(value, int) else 1e-6 * abs(value) or 1e-6)
            yield path, record
            place[path[-1]] = value


@pytest.mark.parametrize("which", ["small", "snips"])
def test_every_number_of_a_record_is_looked_at(which: str, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    path = small if which == "small" else ROOT / "results" / "snips.json"
    record = load_record(path)
    before = copy.deepcopy(record)
    verdict = Verdict("")
    found = recomputed(record, load_samples(path, record), verdict)
    assert verdict.ok and differences(record, {**own_hashes(record), **found}, WHOLE) == []
    counts = {"figures": 0, "sealed": 0}
    for place, changed in mutations(record):
        noticed = {d.place for d in differences(changed, {**own_hashes(changed), **found}, WHOLE)}
        assert "hashes.record" in noticed
        if place in found:  # found by its own name, and by no other
            assert noticed == {"hashes.record", ".".join(map(str, place))}
            counts["figures"] += 1
        elif place[0] == "recipe":
            assert noticed == {"hashes.record", "hashes.recipe"}
        else:
            assert noticed == {"hashes.record"} and place[0] in UNCHECKED, place
            counts["sealed"] += 1
    assert record == before
    assert counts["sealed"] == check(record, load_samples(path, record), "").unchecked
    assert counts["figures"] > 300


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda r: r["tests"]["test"].update(constraint="schema"), "tests.test.constraint"),
        (lambda r: r["tests"]["test"]["comparison"]["flips"]["lost"].append("x"), "tests.test.comparison.flips.lost.0"),
        (lambda r: r["metrics"].update(better={"k": 1}), "metrics.better.k"),
        (lambda r: r["tests"].update(more={"metrics": 1}), "tests.more.metrics"),
        (lambda r: r["tests"].pop("unseen"), "tests.unseen.metrics.json_exact.k"),
        (lambda r: r.update(name="other"), "name"),
        (lambda r: r["recipe"]["train"].update(epochs=9), "hashes.recipe"),
        (lambda r: r["hashes"]["prompt"].update(schema="00"), "hashes.prompt.schema"),
        (lambda r: r["hashes"]["data"].update(unseen="00"), "hashes.data.unseen"),
        (lambda r: r["data"]["test"].update(rows=11), "data.test.rows"),
    ],
)
def test_words_and_hashes_are_looked_at(
    change: Callable[[dict[str, Any]], Any], place: str, small: Path, tmp_path: Path
) -> None:
    """In a record that was made to fit itself again: not its own hash gives the change away."""
    record = load_record(small)
    samples = load_samples(small, record)
    change(record)
    write_result(tmp_path / "changed.json", record, samples)
    noticed = places(verify(tmp_path / "changed.json"))
    assert place in noticed and "hashes.record" not in noticed


def test_a_recipe_that_is_none_is_said(small: Path, tmp_path: Path) -> None:
    record = load_record(small)
    samples = load_samples(small, record)
    record["recipe"]["epoch"] = 1
    write_result(tmp_path / "changed.json", record, samples)
    verdict = verify(tmp_path / "changed.json")
    assert {"recipe", "hashes.recipe"} <= places(verdict)
    assert "unknown key epoch" in verdict.notes[0]


# ---- whatever is changed in the samples


def right(samples: Samples) -> dict[str, Any]:
    return next(sample for sample in samples["test"]["tuned"] if sample["score"]["exact"])


def test_one_character_of_an_output_is_noticed(changed: Callable[..., Verdict]) -> None:
    names: list[str] = []

    def change(samples: Samples) -> None:
        sample = right(samples)
        names.append(sample["id"])
        sample["output"] = sample["output"].replace('":"', '":"x', 1)

    noticed = places(changed(change))
    assert {f"samples.test.tuned.{names[0]}.score.exact", "tests.test.metrics.json_exact.k"} <= noticed
    assert "tests.test.comparison.metrics.json_exact.p" in noticed and "metrics.field_f1.value" in noticed


def test_one_character_of_a_target_is_noticed(changed: Callable[..., Verdict]) -> None:
    names: list[str] = []

    def change(samples: Samples) -> None:
        sample = samples["unseen"]["tuned"][3]
        names.append(sample["id"])
        sample["target"] = sample["target"].replace('"}', 's"}')

    assert places(changed(change)) == {f"samples.unseen.tuned.{names[0]}.target"}


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda s: s["test"]["tuned"].pop(4), "samples.test.tuned."),
        (lambda s: s["test"]["base"].pop(4), "samples.test.base."),
        (lambda s: s["test"]["timed"].pop(), "samples.test.timed."),
        (lambda s: s["test"].pop("timed"), "samples.test.timed."),
        (lambda s: s["test"]["timed"][0].update(constraint="schema"), "tests.test"),
        (lambda s: s["unseen"]["tuned"].append(s["unseen"]["tuned"][2]), "samples.unseen.tuned."),
        (lambda s: s["test"]["tuned"].reverse(), "samples.test.tuned"),
        (lambda s: s["test"].pop("base"), "samples.test.base."),
        (lambda s: s.pop("unseen"), "samples.unseen.tuned."),
        (lambda s: s.update(more=s["unseen"]), "samples.more"),
        (lambda s: s["test"]["timed"][0].update(total_s=0.7), "tests.test.latency.p50_s"),
        (lambda s: s["test"]["tuned"][0].update(style="terse"), "samples.test.tuned."),
        (lambda s: s["test"]["tuned"][0].update(prompt_tokens=41), "tests.test.latency.prompt_tokens"),
        (lambda s: s["test"]["tuned"][0]["score"].update(hits=2), "samples.test.tuned."),
        (lambda s: s["test"]["tuned"][0]["score"].update(bonus=2), "samples.test.tuned."),
        (lambda s: s["test"]["base"][0].update(batch=1), "tests.test.base_latency.n"),
        (lambda s: s["test"]["tuned"][0].update(constraint="schema"), "tests.test"),
    ],
)
def test_a_change_to_the_samples_is_noticed(
    change: Callable[[Samples], Any], place: str, changed: Callable[..., Verdict]
) -> None:
    assert any(name.startswith(place) for name in places(changed(change)))


def test_another_file_of_samples_is_noticed(small: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(small, tmp_path))
    beside = samples_path(path)
    content = samples_path(small).read_bytes()
    text = gzip.decompress(content)
    # One character of one answer that was wrong and stays so: no figure moves, and the hash does.
    worse = text.replace(b'"output":"{\\"intent\\":\\""', b'"output":"{\\"intent\\";\\""', 1)
    assert worse != text
    for replaced in (gzip.compress(worse), gzip.compress(text), content[:-9], b"nothing"):
        beside.write_bytes(replaced)
        assert "hashes.samples" in places(verify(path))
    beside.unlink()
    with pytest.raises(BadInput, match="there is no such file: give the folder of a run that has ended"):
        verify(path)


# ---- whatever is changed in the data


@pytest.mark.parametrize("part", ["text", "target", "schema", "id"])
def test_changed_data_is_noticed(part: str, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = load_task("edge_intent")
    rows = task.load("test")
    new = {"text": "x", "target": {"intent": "none"}, "schema": {"type": "object"}, "id": "x"}
    rows[0] = replace(rows[0], **{part: new[part]})  # the first is one of ten evenly spaced
    load = task.load
    monkeypatch.setattr(type(task), "load", lambda self, split: rows if split == "test" else load(split))
    noticed = places(verify(small))
    assert "hashes.data.test" in noticed and "hashes.data.unseen" not in noticed
    assert ("tests.test.metrics.json_exact.k" in noticed) is (part in ("target", "id"))


def filed(folder: Path) -> tuple[Path, Path]:
    """A result over a file, and the file."""
    rows = folder / "rows.jsonl"
    names = ("lights_on", "lights_off")
    lines = [
        {"id": str(i), "schema_id": "wish", "text": f"Wish {i}", "target": f'{{"intent":"{names[i % 2]}"}}'}
        for i in range(4)
    ]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    tests = [{"split": str(rows), "prompt": "schema"}]
    write_result(folder / "filed.json", *made({**SETTINGS, "data": {"tests": tests}}))
    return folder / "filed.json", rows


def test_files_are_read_where_they_are(tmp_path: Path) -> None:
    result, rows = filed(tmp_path)
    verdict = verify(result)
    assert verdict.ok and verdict.notes == []
    rows.write_text(rows.read_text().replace("Wish 2", "Wish 3"))
    assert places(verify(result)) == {"hashes.data.rows"}


def score_of(rows: dict[str, list[dict[str, Any]]], **changes: Any) -> dict[str, Any]:
    """The score of the first answer, which is changed."""
    rows["tuned"][0].update(changes)
    score: dict[str, Any] = rows["tuned"][0]["score"]
    return score


def test_without_the_file_targets_are_those_stored_and_it_says_so(tmp_path: Path) -> None:
    result, rows = filed(tmp_path)
    rows.unlink()
    verdict = verify(result)
    assert verdict.ok and verdict.figures > 100
    (note,) = verdict.notes
    assert note.startswith(f"rows: {rows} is not here: its answers were scored against the targets stored with them")
    record = load_record(result)
    samples = copy.deepcopy(dict(load_samples(result, record)))
    for change, place in (
        (lambda rows: rows["tuned"][0].update(target='{"intent":"x"}'), "samples.rows.tuned.0.score.exact"),
        (lambda rows: rows["tuned"][0].update(target="{"), "samples.rows.tuned.0.target"),
        # No JSON cannot satisfy a schema, nor can a value that breaks it in some place.
        (lambda rows: score_of(rows, output="?").update(compliant=True), "samples.rows.tuned.0.score.compliant"),
        (lambda rows: score_of(rows).update(compliant=True, errors=["x"]), "samples.rows.tuned.0.score.compliant"),
        (lambda rows: [rows[stage].pop() for stage in ("tuned", "base")], "data.rows.rows"),
        (lambda rows: rows["tuned"].append(rows["tuned"][1]), "samples.rows.tuned.1"),
    ):
        forged = copy.deepcopy(samples)
        change(forged["rows"])
        write_result(tmp_path / "forged.json", record, forged)
        assert place in places(verify(tmp_path / "forged.json")), place


def test_what_was_trained_on_is_hashed_when_asked(tmp_path: Path) -> None:
    recipe = recipe_of({**SETTINGS, "data": {**SETTINGS["data"], "train": ["few"], "validation": 4}}, "settings")
    record, samples = made(recipe.to_dict())
    write_result(tmp_path / "r.json", record, samples)
    assert verify(tmp_path / "r.json").ok
    noticed = places(verify(tmp_path / "r.json", training=True))
    assert {"hashes.data.train", "hashes.data.validation", "data.train.rows"} <= noticed
    record["data"]["train"]["skipped"] = 1
    write_result(tmp_path / "r.json", record, samples)
    verdict = verify(tmp_path / "r.json", training=True)
    assert "hashes.data.train" not in places(verdict) and "train: rows over the length limit" in verdict.notes[0]


# ---- the verb


def test_the_verb_says_ok_or_what_differs(small: Path, tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    folder = tmp_path / "results"
    shutil.copytree(small.parent, folder)
    said = slmbench("verify", folder)
    assert said.code == 0 and said.out.startswith(f"{folder / 'small.json'}: ok, ")
    record = json.loads((folder / "small.json").read_text())
    record["tests"]["test"]["metrics"]["json_exact"]["k"] += 1
    (folder / "small.json").write_text(json.dumps(record))
    said = slmbench("verify", small, folder / "small.json")
    assert said.code == 1
    k = record["tests"]["test"]["metrics"]["json_exact"]["k"]
    assert said.out.startswith(f"{small}: ok, ")
    assert f"small.json: tests.test.metrics.json_exact.k: stored {k}, recomputed {k - 1}\n" in said.out
    told = json.loads(slmbench("verify", folder, "--json").out)
    assert [part["ok"] for part in told] == [False] and told[0]["unchecked"] == 10
    assert {"place": "tests.test.metrics.json_exact.k", "stored": k, "found": k - 1} in told[0]["differences"]


def test_a_long_list_is_cut_in_text_only(small: Path, tmp_path: Path) -> None:
    record = load_record(small)
    samples = load_samples(small, record)
    record["tests"]["test"]["slices"] = {}
    write_result(tmp_path / "r.json", record, samples)
    verdict = verify(tmp_path / "r.json")
    assert len(verdict.differences) > 30 and len(verdict.lines()) == 22
    assert f"and {len(verdict.differences) - 20} more differences; --json lists them all" in verdict.lines()[20]
    assert len(verdict.to_json()["differences"]) == len(verdict.differences)


def test_bad_input_is_one_sentence(small: Path, tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    for arguments, sentence in (
        ([tmp_path], "no results in it; give a file of results/"),
        ([tmp_path / "none.json"], "there is no such file"),
        ([samples_path(small)], "not readable as JSON"),
        ([small, small, "--rerun", tmp_path], "the weights of one result, and 2 are given"),
        ([small, "--rerun", tmp_path], "neither an adapter nor an export in it"),
        ([small, "--rerun", tmp_path, "--rows", "0"], "--rows 0: give 1 or more"),
        ([small, "--rows", "3"], "give --rerun RUN too"),
    ):
        said = slmbench("verify", *arguments)
        assert said.code == 2 and sentence in said.sentence, arguments


@pytest.mark.parametrize(
    ("harm", "said_of_it"),
    [
        ({"peak_memory_gib": float("inf")}, "Infinity is not JSON"),
        ({"created": "2025-01-02", "machine": {"cpu": "\ud800"}}, "a lone surrogate in a string"),
    ],
)
def test_what_is_no_json_is_one_sentence(
    harm: dict[str, Any], said_of_it: str, small: Path, tmp_path: Path, slmbench: Callable[..., Any]
) -> None:
    path = Path(shutil.copy(small, tmp_path))
    shutil.copy(samples_path(small), tmp_path)
    path.write_text(json.dumps({**json.loads(small.read_text()), **harm}))
    said = slmbench("verify", path)
    assert said.code == 2 and f"not readable as JSON ({said_of_it})" in said.sentence


def test_a_folder_is_a_run_or_holds_results(small: Path, tmp_path: Path) -> None:
    assert results_of([small.parent, small]) == [small, small]
    (tmp_path / "record.json").touch()
    (tmp_path / "state.json").touch()
    assert results_of([tmp_path]) == [tmp_path]


# ---- answers written again


def test_a_finished_run_is_verified_and_answers_again(
    finished: Path, tmp_path: Path, slmbench: Callable[..., Any]
) -> None:
    said = slmbench("verify", finished, "--rerun", finished)
    assert said.code == 0, said.out
    assert "exam: answered again, the same 1 of 1 (100.0 %)" in said.out
    assert "exam, base: answered again, the same 1 of 1 (100.0 %)" in said.out
    (seed,) = re.findall(r"drawn by --seed (\d+)$", said.out, re.MULTILINE)
    assert f"--seed {seed}" not in slmbench("verify", finished, "--rerun", finished).out
    assert f"--seed {seed}" in slmbench("verify", finished, "--rerun", finished, "--seed", seed).out
    # Published with an answer that the model did not give, and that is as wrong as its own.
    record = load_record(finished)
    samples = copy.deepcopy(dict(load_samples(finished, record)))
    timed = {sample["id"] for sample in samples["exam"]["timed"]}
    forged = next(s for s in samples["exam"]["tuned"] if s["id"] not in timed and not s["score"]["parsed_lenient"])
    own = forged["output"]
    forged["output"] += " "
    write_result(tmp_path / "tiny.json", record, samples)
    assert slmbench("verify", tmp_path / "tiny.json").code == 0
    said = slmbench("verify", tmp_path / "tiny.json", "--rerun", finished, "--rows", 100)
    assert said.code == 1
    assert "exam: answered again, the same 5 of 6 (83.3 %)" in said.out
    both = f"stored {json.dumps(own + ' ', ensure_ascii=False)}, recomputed {json.dumps(own, ensure_ascii=False)}"
    assert f"answer.exam.{forged['id']}: {both}" in said.out
    # And one of the base's.
    forged["output"] = own
    forged = next(s for s in samples["exam"]["base"] if not s["score"]["parsed_lenient"])
    forged["output"] += " "
    write_result(tmp_path / "tiny.json", record, samples)
    said = slmbench("verify", tmp_path / "tiny.json", "--rerun", finished, "--rows", 100)
    assert said.code == 1 and "exam: answered again, the same 6 of 6" in said.out
    assert "exam, base: answered again, the same 5 of 6" in said.out
    assert f"answer.exam, base.{forged['id']}: stored " in said.out


def test_what_takes_an_export_is_said(finished: Path, tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    """A run's folder answers freely: of answers under a schema it compares nothing, and says so."""
    record = load_record(finished)
    samples = copy.deepcopy(dict(load_samples(finished, record)))
    for sample in (sample for stages in samples["exam"].values() for sample in stages):
        sample["constraint"] = "schema"
    record["tests"]["exam"]["constraint"] = "schema"
    write_result(tmp_path / "held.json", record, samples)
    said = slmbench("verify", tmp_path / "held.json", "--rerun", finished)
    assert said.code == 2
    assert "none of its answers can be written again (exam: decoded under schema, which takes the" in said.sentence


def test_other_weights_are_not_asked(
    finished: Path, run_copy: Path, tmp_path: Path, slmbench: Callable[..., Any]
) -> None:
    adapter = run_copy / "adapter" / "adapter_model.safetensors"
    content = bytearray(adapter.read_bytes())
    content[-1] ^= 1
    adapter.write_bytes(content)
    said = slmbench("verify", finished, "--rerun", run_copy)
    assert said.code == 1
    assert "hashes.adapter: stored " in said.out and "nothing was asked of them" in said.out
    assert "hashes.adapter: stored " in slmbench("verify", run_copy).out
    said = slmbench("verify", run_copy, "--rerun", finished)
    assert said.code == 1 and "nothing was asked again: the result itself is not right" in said.out


def test_an_export_answers_for_its_run(wide_exports: Path, tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    folder = Path(shutil.copytree(wide_exports, tmp_path / "runs" / "wide"))
    assert slmbench("run", folder / "recipe.yaml", "--runs", folder.parent).code == 0
    said = slmbench("verify", folder, "--rerun", folder / "export" / "int8", "--rows", 3, "--seed", 7, "--json")
    (told,) = json.loads(said.out)
    assert told["again"]["exam"]["rows"] == 3  # what a random model in 8 bits answers is noise
    assert all(difference["place"].startswith("answer.exam.") for difference in told["differences"])
    assert told["again"]["exam"]["same"] == 3 - len(told["differences"])
