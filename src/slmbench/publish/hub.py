"""A finished run or a data set onto the Hugging Face Hub: what would be sent, and sending it, in one commit.

Nothing is sent but what is named here: of a run its adapter, tokenizer, card, recipe, record and samples, and the
exports that are asked for; of a data set the files of its manifest. Weights are safetensors, or an export's own file.
What is sent names no path of this machine. The token is the Hub's own (HF_TOKEN, or its login), and is said nowhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import yaml

from slmbench import __version__
from slmbench.core import BadInput, SlmbenchError
from slmbench.data import decoded, read_bytes
from slmbench.fetch import hub_offline
from slmbench.files import file_sha256, json_text, read_json
from slmbench.models import ADAPTER, ADAPTER_RECORD
from slmbench.progress import say
from slmbench.publish.card import card, hub_id, loads_by_id
from slmbench.publish.dataset import CARD, KIND, MANIFEST, REPO
from slmbench.publish.record import Record, kind_of, seal, value_sha256
from slmbench.publish.stored import FINISHED, checked_samples, load_record, samples_path
from slmbench.runs import holder
from slmbench.weights import safetensors_values

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Kind = Literal["model", "dataset"]
CONFIG, WEIGHTS = "adapter_config.json", ADAPTER
TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    "chat_template.jinja",
)
MODEL_FILES = ("model.safetensors", "model.gguf", "model.onnx")
EXPORT = frozenset({"config.json", "generation_config.json", *TOKENIZER, *MODEL_FILES})
"""What an export may hold beside its manifest."""
NAMES = ("base_model_name_or_path", "name_or_path", "_name_or_path")
"""Keys of configurations that say which model it is."""
UNREAD = frozenset({"schema"})
"""Keys below which no path is looked for: a schema is the user's own."""
LOCAL = ("localhost", "127.0.0.1", "::1")
AGAIN = "give slmbench data card TASK again"
REPO_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


@dataclass(frozen=True)
class Part:
    """A file to be sent: its name in the repository, and its bytes or where they are."""

    name: str
    content: bytes | Path

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    @property
    def sha256(self) -> str:
        """The hash of its bytes."""
        return (
            hashlib.sha256(self.content).hexdigest() if isinstance(self.content, bytes) else file_sha256(self.content)
        )


@dataclass(frozen=True)
class Upload:
    """What is to be sent where; `notes` are sentences that somebody should read before."""

    repo: str
    kind: Kind
    private: bool
    endpoint: str
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all."""
        return sum(part.size for part in self.parts)

    @property
    def url(self) -> str:
        """Where the repository is, or will be."""
        return f"{self.endpoint}/{'datasets/' * (self.kind == 'dataset')}{self.repo}"

    def to_json(self) -> dict[str, Any]:
        """What is sent, for a script to read."""
        return {
            "repo": self.repo,
            "kind": self.kind,
            "private": self.private,
            "url": self.url,
            "files": [{"name": part.name, "bytes": part.size, "sha256": part.sha256} for part in self.parts],
            "bytes": self.size,
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """The same for a terminal."""
        return [
            f"{self.url}: a {'private' if self.private else 'public'} {self.kind} repository",
            *(f"{part.size:>13,}  {part.name}" for part in self.parts),
            f"{self.size:>13,}  bytes in {len(self.parts)} files",
            *self.notes,
        ]


# ---- what is sent


def prepare(
    place: Path,
    repo: str,
    *,
    exports: Sequence[str] = (),
    base: str | None = None,
    private: bool = False,
    endpoint: str | None = None,
) -> Upload:
    """What `place`, a finished run's folder or one that `data card` wrote, would send to a repository; no network.

    `exports` are the run's exports to be sent too, `base` is the Hub id of its base where it was a folder. Raises
    BadInput where anything is missing, changed, unfinished or unknown.
    """
    for name, what in ((repo, "--repo"), (base, "--base")):
        if name is not None and (not REPO_NAME.fullmatch(name) or "--" in name or ".." in name or name[-1] in ".-"):
            raise BadInput(f"{what} {name}: give OWNER/NAME, of letters, digits and single - _ . between them.")
    if not place.is_dir():
        raise BadInput(f"{place}: there is no such folder; give a finished run's, or one that `data card` wrote.")
    address = checked_endpoint(endpoint)
    if (place / MANIFEST).is_file() and not (place / "record.json").exists():
        if read_json(place / MANIFEST, AGAIN).get("kind") != KIND:
            raise BadInput(f"{place}: neither a finished run nor a folder that `data card` wrote; give one of these.")
        if exports or base:
            raise BadInput(f"{place}: a data set, which has neither exports nor a base; leave --export and --base out.")
        return Upload(repo, "dataset", private, address, _data_parts(place, repo))
    parts, notes = _run_parts(place, repo, exports, base)
    return Upload(repo, "model", private, address, parts, notes)


def checked_endpoint(endpoint: str | None) -> str:
    """The address of the Hub, by default the one that its client has. Raises BadInput, which never repeats it."""
    if endpoint is None:
        from huggingface_hub import constants

        endpoint = constants.ENDPOINT
    try:
        parts = urlsplit(endpoint)
        # A token goes in the clear over http: only to this machine.
        usable = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOCAL)
        usable = usable and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc or parts.query or parts.fragment:
        raise BadInput("--endpoint or HF_ENDPOINT: give an address as https://HOST, without user, password, ? and #.")
    return endpoint.rstrip("/")


def _run_parts(
    folder: Path, repo: str, exports: Sequence[str], base: str | None
) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    if holder(folder) is not None:
        raise BadInput(f"{folder}: this run is still at work; wait for it to end.")
    stored = load_record(folder)
    samples = checked_samples(samples_path(folder / "record.json"), stored)
    if seal(stored) != stored["hashes"].get("record"):
        raise BadInput(f"{folder}: its record.json is not as the run wrote it; give the run's own command again.")
    if kind_of(stored) != "tuned":
        raise BadInput(f"{folder}: nothing was trained in it, so there is no adapter to give away.")
    record, shortened = nowhere(stored)
    shown: Record = {**record, "weights": {**record["weights"], "hub_id": base}} if base else record
    # Nobody loads the first layers of a base by its Hub id.
    name = str(hub_id(shown["weights"]) if loads_by_id(shown) else record["weights"]["name"])
    notes = []
    if hub_id(shown["weights"]) is None:
        notes.append(
            f"The base was a folder, {name}, which others cannot load by name: --base OWNER/NAME says what it is."
        )
    if shortened:
        notes.append(f"Paths of this machine are shortened to their ends: {', '.join(shortened)}.")
    if any(Path(str(test.get("split"))).suffix for test in record["recipe"].get("data", {}).get("tests", ())):
        notes.append("record.samples.jsonl.gz has the answers to documents of your own, and their targets.")
    recipe = yaml.safe_dump(record["recipe"], sort_keys=False, allow_unicode=True)
    parts = [
        Part(CARD, card(shown, repo).encode()),
        *_adapter_parts(folder, stored, name),
        *_tokenizer_parts(folder / "tokenizer", name),
        Part("recipe.yaml", recipe.encode()),
        Part("record.json", json_text(record).encode()),
        Part("record.samples.jsonl.gz", samples),
    ]
    for form in dict.fromkeys(exports):
        parts += _export_parts(folder, form, stored, name)
    return tuple(parts), tuple(notes)


def nowhere(record: Record) -> tuple[Record, list[str]]:
    """A record without paths of this machine, sealed anew if it had any, and the keys that had one."""
    found: list[str] = []
    clean: Record = _shortened(record, "", found)
    if found:
        clean["hashes"]["recipe"] = value_sha256(clean["recipe"])
        clean["hashes"]["record"] = seal(clean)
    return clean, found


def _shortened(value: Any, key: str, found: list[str], name: str | None = None) -> Any:
    """A JSON value with every path cut to its end, or to `name` where it says which model it is; `found` gets keys."""
    last = key.rpartition(".")[2]
    if isinstance(value, Mapping):
        return {
            k: part if k in UNREAD else _shortened(part, f"{key}.{k}".lstrip("."), found, name)
            for k, part in value.items()
        }
    if isinstance(value, list):
        return [_shortened(part, f"{key}.{i}", found, name) for i, part in enumerate(value)]
    if not isinstance(value, str):
        return value
    if name is not None and last in NAMES and (last == NAMES[0] or is_path(value)):
        return name
    if is_path(value):
        found.append(key)
        return PureWindowsPath(value).name
    return value


def is_path(text: str) -> bool:
    """Whether a text is a path from a machine's root or a user's home: it tells of this machine and is of no use."""
    homely = text.startswith(("~/", "~\\"))
    posix, windows = PurePosixPath(text), PureWindowsPath(text)
    rooted = (posix.is_absolute() and len(posix.parts) > 2) or windows.is_absolute()
    return "\n" not in text and (homely or rooted)


def _adapter_parts(folder: Path, record: Record, base: str) -> Iterator[Part]:
    place = folder / "adapter"
    for name in (CONFIG, WEIGHTS, ADAPTER_RECORD):
        if not (place / name).is_file():
            raise BadInput(f"{place}: {name} is missing; {FINISHED}.")
    safetensors_values(place / WEIGHTS)
    if file_sha256(place / WEIGHTS) != record["hashes"]["adapter"]:
        raise BadInput(f"{place}: not the adapter that the record is of (hashes.adapter); {FINISHED}.")
    yield _configuration(place / CONFIG, CONFIG, base)
    yield Part(WEIGHTS, place / WEIGHTS)
    yield _configuration(place / ADAPTER_RECORD, ADAPTER_RECORD, base)


def _tokenizer_parts(place: Path, base: str) -> Iterator[Part]:
    if not (place / TOKENIZER[0]).is_file():
        raise BadInput(f"{place}: {TOKENIZER[0]} is missing; {FINISHED}.")
    for name in TOKENIZER:
        if (place / name).is_file():
            yield _configuration(place / name, name, base)


def _export_parts(folder: Path, form: str, record: Record, base: str) -> Iterator[Part]:
    place = folder / "export" / form
    again = f"give slmbench export {folder} --to {form}"
    if not re.fullmatch(r"\w[\w.-]*", form) or not (place / MANIFEST).is_file():
        there = ", ".join(sorted(path.parent.name for path in folder.glob(f"export/*/{MANIFEST}")))
        raise BadInput(f"--export {form}: {folder} has {there or 'no exports'}; {again}.")
    manifest = read_json(place / MANIFEST, again)
    if manifest.get("adapter_sha256") != record["hashes"]["adapter"]:
        raise BadInput(f"{place}: the export of another adapter than the record's; {again}.")
    listed, parts = dict(_listed(manifest, place, again)), []
    for name, facts in list(listed.items()):
        if name not in EXPORT:
            raise BadInput(f"{place}: {name} is none of an export's files; {again}.")
        _same_file(place / name, facts, again)
        if name.endswith(".safetensors"):
            safetensors_values(place / name)
        part = _configuration(place / name, f"export/{form}/{name}", base)
        if part.content != place / name:
            listed[name] = {"bytes": part.size, "sha256": part.sha256}
        parts.append(part)
    told = {**_shortened(manifest, "", [], base), "files": listed}
    content = place / MANIFEST if told == manifest else json_text(told).encode()
    yield Part(f"export/{form}/{MANIFEST}", content)
    yield from parts


def _configuration(path: Path, name: str, base: str) -> Part:
    """A file as it is, or, if it is a configuration that names a path, without that."""
    if path.suffix != ".json" or path.name == TOKENIZER[0]:
        return Part(name, path)
    value = read_json(path, FINISHED)
    clean = _shortened(value, "", [], base)
    return Part(name, path) if clean == value else Part(name, json_text(clean).encode())


def _data_parts(folder: Path, repo: str) -> tuple[Part, ...]:
    manifest = read_json(folder / MANIFEST, AGAIN)
    if not (folder / CARD).is_file():
        raise BadInput(f"{folder}: {CARD} is missing; {AGAIN}.")
    text = decoded(folder / CARD, read_bytes(folder / CARD)).replace(REPO, repo)
    parts = [Part(CARD, text.encode())]
    for name, facts in sorted(_listed(manifest, folder, AGAIN).items()):
        if not re.fullmatch(r"data/\w+\.jsonl", name):
            raise BadInput(f"{folder}: {name} is none of a data set's files; {AGAIN}.")
        _same_file(folder / name, facts, AGAIN)
        parts.append(Part(name, folder / name))
    return (*parts, Part(MANIFEST, folder / MANIFEST))


def _listed(manifest: Mapping[str, Any], folder: Path, again: str) -> Mapping[str, Any]:
    files = manifest.get("files")
    if not isinstance(files, dict) or not files or not all(isinstance(facts, dict) for facts in files.values()):
        raise BadInput(f"{folder / MANIFEST}: lists no files; {again}.")
    return files


def _same_file(path: Path, facts: Mapping[str, Any], again: str) -> None:
    if not path.is_file():
        raise BadInput(f"{path.parent}: {path.name} is missing; {again}.")
    if path.stat().st_size != facts.get("bytes") or file_sha256(path) != facts.get("sha256"):
        raise BadInput(f"{path}: not the file that was written there ({MANIFEST}); {again}.")


# ---- sending it


def push(upload: Upload) -> str:
    """Send it: the repository is made if there is none, and all files come in one commit, whose URL is returned.

    Files that are there already, and the same, are not sent again. Raises BadInput where the Hub refuses, SlmbenchError
    where it fails or cannot be reached.
    """
    if hub_offline():
        raise SlmbenchError(
            "HF_HUB_OFFLINE is set, which keeps the Hub's client off the network; unset it to send this."
        )
    token = _token()
    say(f"sending {upload.size:,} bytes in {len(upload.parts)} files to {upload.url}")
    with _told(upload, token), _quiet():
        from huggingface_hub import CommitOperationAdd, HfApi

        api = HfApi(endpoint=upload.endpoint, token=token, library_name="slmbench", library_version=__version__)
        api.create_repo(upload.repo, repo_type=upload.kind, private=upload.private, exist_ok=True)
        _check_private(api, upload)
        made = api.create_commit(
            upload.repo,
            [CommitOperationAdd(part.name, part.content) for part in upload.parts],
            commit_message=f"Upload by slmbench {__version__}",
            repo_type=upload.kind,
        )
    return str(made.commit_url)


def _check_private(api: HfApi, upload: Upload) -> None:
    """A repository that was there already stays what it was: what is to be private never goes into a public one."""
    if upload.private and not api.repo_info(upload.repo, repo_type=upload.kind).private:
        raise BadInput(f"{upload.repo}: the repository is there and public; give another --repo, or make it private.")


def _token() -> str:
    """The Hub's token, of HF_TOKEN or of its login. Raises BadInput where there is none, or none that can be sent."""
    from huggingface_hub import get_token

    try:
        token = get_token()
    except Exception as error:  # a login by way of a server, with errors of its own
        raise SlmbenchError(
            f"the Hub's login failed ({type(error).__name__}); log in again with `hf auth login`."
        ) from None
    if not token:
        raise BadInput("there is no token for the Hub: log in with `hf auth login`, or set HF_TOKEN.")
    if not all("!" <= char <= "~" for char in token):
        raise BadInput("the Hub's token: only letters, digits and marks of ASCII, no spaces; set another HF_TOKEN.")
    return token


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the log lines, warnings and bars of the Hub's client, which may hold what a server says."""
    from huggingface_hub.utils import logging as client
    from huggingface_hub.utils.tqdm import disable_progress_bars

    before = client.get_verbosity()
    client.set_verbosity(logging.CRITICAL)
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        client.set_verbosity(before)


@contextlib.contextmanager
def _told(upload: Upload, token: str) -> Iterator[None]:
    """Whatever fails in the block as one sentence without the token."""
    try:
        yield
    except SlmbenchError:
        raise
    # The Hub's client lets the errors of several libraries through.
    except Exception as error:
        raise _sentence(error, upload, token) from None


def _sentence(error: Exception, upload: Upload, token: str) -> SlmbenchError:
    from huggingface_hub.errors import HfHubHTTPError

    reason = _first_line(str(error), token)
    if reason.startswith("Invalid metadata"):
        said = _first_line(str(error).partition("\n")[2], token)
        return BadInput(f"{CARD}: the Hub refuses its metadata ({said}); correct it, and give the command again.")
    found = next((e for e in _causes(error) if isinstance(e, HfHubHTTPError)), None)
    if found is None:
        what = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
        # Large files go by a library of its own, which tells a refusal from a failure by words alone.
        if "xet-write-token" in str(error):
            what = match[1] if (match := re.search(r"\((\d{3} [^)]*)\)", reason)) else what
            again = (
                "give it again with a token that may write, or HF_HUB_DISABLE_XET=1 where the Hub has no Xet storage"
            )
            return SlmbenchError(f"{upload.repo}: the large files could not be sent ({what}); {again}.")
        return SlmbenchError(f"{upload.endpoint}: the upload broke off ({what}); give the same command again.")
    code = found.response.status_code
    said = _first_line(found.server_message or "", token)
    because = f"{code}, {said}" if said else f"{code}"
    refused = {
        400: f"the Hub refuses what was sent ({because}); nothing was committed",
        401: f"the Hub does not take this token ({code}); log in with `hf auth login`, or set another HF_TOKEN",
        402: f"the Hub asks for a subscription for this ({because}); give another --repo",
        403: f"this token may not write there ({because}); take a token with the right to write, or another --repo",
        404: f"the Hub has no such owner or repository ({because}); correct --repo",
        413: f"the Hub takes no files of this size ({because}); send fewer, without --export",
    }
    if code in refused:
        return BadInput(f"{upload.repo}: {refused[code]}.")
    if code == 429:
        return SlmbenchError(
            f"{upload.repo}: the Hub has had too many requests (429); wait, and give the command again."
        )
    return SlmbenchError(f"{upload.repo}: the Hub failed ({because}); give the same command again.")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _first_line(text: str, token: str) -> str:
    """The first line of what was said, without the token, and no longer than a sentence may be."""
    lines = [line.strip(" -.") for line in text.replace(token, "***").splitlines() if line.strip(" -.")]
    return lines[0][:200] if lines else ""
