"""A result on the disk: its record as JSON to be read, and beside it every sample, packed.

NAME.json              the record; `hashes.samples` is the SHA-256 of the file beside it, `samples.rows` how many it has
NAME.samples.jsonl.gz  a line a sample, with `test` and `stage` before what the sample is (`metrics`)

The same samples give the same bytes: no time and no name stand in the gzip header.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slmbench.core import BadInput
from slmbench.data import read_bytes
from slmbench.files import json_text, read_json, write_atomic
from slmbench.metrics import NOTHING, Sample
from slmbench.publish.record import STAGES, Record, SamplesBySplit, check_record, seal
from slmbench.schema import strict_loads

LEVEL = 9
FINISHED = "give the folder of a run that has ended, or give its own command again"
KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("test", "stage", "id", "schema_id", "complexity", "style", "target", "output"), (str,)),
    **dict.fromkeys(("finish", "constraint"), (str,)),
    **dict.fromkeys(("prompt_tokens", "output_tokens", "batch"), (int,)),
    "first_token_s": (float, int, type(None)),
    "total_s": (float, int),
    "score": (dict,),
}
"""What every line has, and of which types."""


SCORE: dict[str, tuple[type, ...]] = {
    key: (list,) if key == "errors" else (float, int) if isinstance(value, float) else (type(value),)
    for key, value in asdict(NOTHING).items()
}
"""What every score has, and of which types."""
MOST_BYTES = 1 << 28
"""Of samples, unpacked."""


def record_path(place: Path) -> Path:
    """The record's file: `place` itself, or within the folder of a run."""
    return place / "record.json" if place.is_dir() else place


def samples_path(record: Path) -> Path:
    """The file of samples beside a record's."""
    return record.with_name(f"{record.stem}.samples.jsonl.gz")


def load_record(place: Path) -> Record:
    """The record of a file of `results/`, or of a finished run's folder. Raises BadInput where there is none."""
    path = record_path(place)
    return check_record(read_json(path, FINISHED, strict_loads), str(path))


def load_samples(place: Path, record: Record) -> SamplesBySplit:
    """The samples beside a record.

    Raises BadInput where they are not there, are not those that the record hashes, or have scores that are none.
    """
    path = samples_path(record_path(place))
    samples = unpack(checked_samples(path, record), path)
    for test, stages in samples.items():
        for sample in (sample for part in stages.values() for sample in part):
            score = sample["score"]
            if wrong := [key for key, kinds in SCORE.items() if type(score.get(key)) not in kinds]:
                raise BadInput(f"{path}: {test}, {sample['id']}: score.{wrong[0]} is none; {FINISHED}.")
    return samples


def checked_samples(path: Path, record: Record) -> bytes:
    """The bytes of a record's file of samples. Raises BadInput where it is not there, or not the one it hashes."""
    content = read_samples(path)
    if hashlib.sha256(content).hexdigest() != record["hashes"].get("samples"):
        raise BadInput(f"{path}: not the samples of the record beside it (hashes.samples); {FINISHED}.")
    return content


def read_samples(path: Path) -> bytes:
    """A file of samples as it is. Raises BadInput where there is none."""
    if not path.is_file():
        raise BadInput(f"{path}: there is no such file: {FINISHED}")
    return read_bytes(path)


def write_result(path: Path, record: Record, samples: SamplesBySplit) -> Record:
    """Write a record to `path` and its samples beside it; returns the record with their hash, and its own.

    Raises SlmbenchError where the disk is full; a kill between the two leaves a pair that does not fit, and is refused.
    """
    content = pack(samples)
    rows = sum(len(part) for stages in samples.values() for part in stages.values())
    hashes = {**record["hashes"], "samples": hashlib.sha256(content).hexdigest()}
    whole: Record = {**record, "samples": {"rows": rows}, "hashes": hashes}
    hashes["record"] = seal(whole)
    write_atomic(samples_path(path), content)
    write_atomic(path, json_text(whole))
    return whole


def pack(samples: SamplesBySplit) -> bytes:
    """All samples as the bytes of a file: test by test, stage by stage, each in its order."""
    lines = (
        json.dumps({"test": test, "stage": stage, **sample}, ensure_ascii=False, separators=(",", ":")) + "\n"
        for test, stages in samples.items()
        for stage in STAGES
        for sample in stages.get(stage, ())
    )
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=LEVEL, mtime=0) as handle:
        handle.write("".join(lines).encode("utf-8"))
    return packed.getvalue()


def unpack(content: bytes, where: Path) -> dict[str, dict[str, list[Sample]]]:
    """The samples of a file's bytes. Raises BadInput, naming `where` and the line, for anything that is not theirs."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as handle:
            if len(plain := handle.read(MOST_BYTES + 1)) > MOST_BYTES:
                raise BadInput(f"{where}: over {MOST_BYTES >> 20} MiB unpacked; {FINISHED}.")
        text = plain.decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BadInput(f"{where}: not a file of samples ({error}); {FINISHED}.") from None
    samples: dict[str, dict[str, list[Sample]]] = {}
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        sample = _sample(line, f"{where}:{number}")
        samples.setdefault(sample.pop("test"), {}).setdefault(sample.pop("stage"), []).append(sample)
    return samples


def _sample(line: str, where: str) -> Sample:
    try:
        value: Any = strict_loads(line)
    except ValueError as error:
        raise BadInput(f"{where}: not JSON ({error}); {FINISHED}.") from None
    for key, kinds in KINDS.items():
        found = value.get(key) if isinstance(value, dict) else False
        if not isinstance(found, kinds) or isinstance(found, bool):
            raise BadInput(f"{where}: not a sample, {key} is missing or of another kind; {FINISHED}.")
    if value["stage"] not in STAGES:
        raise BadInput(f"{where}: there is no stage {value['stage']}; {FINISHED}.")
    sample: Sample = value
    return sample
