"""How many documents an hour `slmbench extract` reads on a core: what docs/scale.md reckons with.

    python benchmarks/extract_rate.py MODEL mails.jsonl --schema order.json --out results/scale/mails.json
    python benchmarks/scale_table.py --write docs/scale.md

The documents are extracted by one process on one core, by one process on several, and by as many processes at once as
there are cores, one on each; with --ray by that engine as well. Processes are pinned to their cores and take as many
threads as `extract` takes by itself; each of several reads all documents. Timed is everything from opening the model to
the last row on the disk, and of Ray its start, so a figure of few documents is too low. Beside that it is measured how
fast documents are counted and rows are read again, which is what begins a command that goes on.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from _asked import add_asked

from slmbench.core import BadInput, SlmbenchError
from slmbench.decode.loop import Decoder
from slmbench.documents import documents, units
from slmbench.engine_ray import ADDRESS, MOST, RayEngine
from slmbench.exported import Exported, check_count, load_exported
from slmbench.extract import Asked, Engine, Extractor, schema_of, to_file
from slmbench.files import json_text, stream_jsonl_tolerant, write_atomic
from slmbench.memory import machine, peak_rss_gib
from slmbench.progress import say
from slmbench.publish.tables import markdown_table

LEAST_SECONDS = 0.5
"""What is over sooner is done again, until so much time has gone by."""
HEAD = ("", "documents", "documents an hour", "an hour and core", "GiB a process")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every way, print the table, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_asked(parser)
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="as of slmbench extract")
    parser.add_argument("--cores", type=int, metavar="N", help="how many to take (default: all)")
    parser.add_argument("--ray", action="store_true", help="also by --engine ray, a worker for each core")
    parser.add_argument("--out", type=Path, metavar="FILE", help="for the figures, as JSON")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--process", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, help=argparse.SUPPRESS)
    words = sys.argv[1:] if argv is None else list(argv)
    arguments = parser.parse_args(words)
    try:
        if arguments.process:
            print(json.dumps(extracted(arguments)))
        else:
            run(arguments, words)
    except SlmbenchError as error:
        say(f"extract_rate: {error}")
        return error.exit_code
    return 0


def run(arguments: argparse.Namespace, words: Sequence[str]) -> None:
    """Every way, one after the other, and what else decides how long many documents take."""
    if not hasattr(os, "sched_setaffinity"):
        raise BadInput("this system pins no processes to cores; measure on Linux.")
    check_count("--cores", arguments.cores)
    cores = sorted(os.sched_getaffinity(0))
    if arguments.cores and arguments.cores > len(cores):
        raise BadInput(f"--cores {arguments.cores}: there are {len(cores)}; give no more.")
    model = load_exported(arguments.model)
    schema_of(model, arguments.schema)
    read = facts(model, arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measured = {
            way: measure(words, way, pinned, workers, folder)
            for way, pinned, workers in ways(cores[: arguments.cores], arguments.ray)
        }
        out = next(iter(sorted(folder.glob("*.jsonl"))))
        rows = read["count"]
        result = {
            "model": model.manifest["name"],
            "machine": machine(),
            "explain": arguments.explain,
            "batch": arguments.batch,
            "documents": read,
            "row_bytes": out.stat().st_size / rows,
            "cursor_bytes": out.with_name(f".{out.name}.cursor.json").stat().st_size,
            "again_per_s": rows / taken(lambda: stream_jsonl_tolerant(out)),
            "count_per_s": rows / taken(lambda: units(arguments.documents, arguments.column, MOST)),
            "unit_documents": MOST,
            "unit_bytes": unit_bytes(arguments),
            "ways": measured,
        }
    print(json_text(result, indent=None) if arguments.json else table(result))
    if arguments.out:
        write_atomic(arguments.out, json_text(result))


def ways(cores: Sequence[int], ray: bool) -> list[tuple[str, list[list[int]], int | None]]:
    """(name, the cores of each process, workers of Ray where that is the engine)."""
    count = len(cores)
    found: list[tuple[str, list[list[int]], int | None]] = [("1 process, 1 core", [[cores[0]]], None)]
    if count > 1:
        found.append((f"1 process, {count} cores", [list(cores)], None))
        found.append((f"{count} processes, 1 core each", [[core] for core in cores], None))
    if ray:
        found.append((f"--engine ray, {count} workers", [list(cores)], count))
    return found


def measure(
    words: Sequence[str], way: str, pinned: Sequence[Sequence[int]], workers: int | None, folder: Path
) -> dict[str, Any]:
    """The figures of one way: all its processes begin at once, and it ends with the last of them."""
    say(f"extract_rate: {way}")
    running = []
    for place, cores in enumerate(pinned):
        own = ["--process", str(folder / f"{way} {place}.jsonl".replace(" ", "_").replace(",", ""))]
        own += [] if workers is None else ["--workers", str(workers)]
        command = [sys.executable, os.path.abspath(__file__), *words, *own]
        pin = functools.partial(os.sched_setaffinity, 0, cores)
        here = {key: value for key, value in os.environ.items() if key != ADDRESS}  # no cluster
        running.append(subprocess.Popen(command, env=here, stdout=subprocess.PIPE, text=True, preexec_fn=pin))
    told = [process.communicate()[0].strip().splitlines() for process in running]
    if any(process.returncode or not said for process, said in zip(running, told, strict=True)):
        raise SlmbenchError(f"{way}: a process of it has failed; what it said stands above.")
    parts = [json.loads(said[-1]) for said in told]
    used = sum(map(len, pinned))
    seconds = max(part["seconds"] for part in parts)
    rate = 3600 * sum(part["documents"] for part in parts) / seconds
    return {
        "processes": len(parts) if workers is None else workers,
        "cores": used,
        "engine": "local" if workers is None else "ray",
        "documents": sum(part["documents"] for part in parts),
        "failed": sum(part["failed"] for part in parts),
        "seconds": seconds,
        "per_hour": rate,
        "per_hour_and_core": rate / used,
        **{key: parts[0][key] for key in ("load_s", "prompt_tokens", "output_tokens")},
        "peak_memory_gib": None if workers else max(part["peak_memory_gib"] for part in parts),
    }


def extracted(arguments: argparse.Namespace) -> dict[str, Any]:
    """What one process does: the documents into a file, as `slmbench extract --out` would."""
    started = time.perf_counter()
    model = load_exported(arguments.model)
    asked = Asked(schema_of(model, arguments.schema), explain=arguments.explain, batch=arguments.batch)
    engine: Engine = (
        Extractor(model, asked) if arguments.workers is None else RayEngine(model, asked, arguments.workers)
    )
    loaded = time.perf_counter() - started
    counts = to_file(engine, arguments.documents, arguments.column, arguments.process)
    told: dict[str, Any] = {**counts, "seconds": time.perf_counter() - started}
    told |= {"load_s": loaded, "peak_memory_gib": peak_rss_gib()}
    backend = engine.backend if isinstance(engine, Extractor) else None
    work = backend.work if isinstance(backend, Decoder) and backend.work.documents else None
    for name in ("prompt_tokens", "output_tokens"):
        told[name] = getattr(work, name) / work.documents if work else None
    return told


def facts(model: Exported, arguments: argparse.Namespace) -> dict[str, Any]:
    """What there is to read: documents, their bytes, and the mean of their own tokens."""
    count = size = tokens = 0
    for document in documents(arguments.documents, arguments.column):
        count += 1
        size += len(document.text.encode("utf-8", "replace"))
        tokens += len(model.tokens.tokenizer.encode(document.text, add_special_tokens=False).ids)
    if not count:
        raise BadInput(f"{arguments.documents[0]}: there are no documents in it; give a file with some.")
    return {"count": count, "bytes": size, "mean_tokens": tokens / count}


def unit_bytes(arguments: argparse.Namespace) -> float:
    """Mean bytes of what says where the documents of one of Ray's units are."""
    sizes = [len(json.dumps(unit)) for unit in units(arguments.documents, arguments.column, MOST)]
    return sum(sizes) / len(sizes)


def taken(work: Callable[[], Iterable[Any]]) -> float:
    """Seconds to go through what `work` gives, by as many goes as make a time that can be told."""
    started, times = time.perf_counter(), 0
    while not times or time.perf_counter() - started < LEAST_SECONDS:
        for _ in work():
            pass
        times += 1
    return (time.perf_counter() - started) / times


def table(result: Mapping[str, Any]) -> str:
    """The ways as Markdown."""
    return markdown_table(HEAD, [[name, *cells(part)] for name, part in result["ways"].items()])


def cells(part: Mapping[str, Any]) -> list[str]:
    """The figures of one way as they are printed."""
    memory = part["peak_memory_gib"]
    return [
        f"{part['documents']:,}",
        f"{part['per_hour']:,.0f}",
        f"{part['per_hour_and_core']:,.0f}",
        "–" if memory is None else f"{memory:.2f}",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
