"""How `slmbench serve` answers, alone, under load and under what clients do wrong, on a model's real weights.

    python benchmarks/serve_load.py runs/edge_json_135m/export/int8 test --out results/serving/edge_json.json
    python benchmarks/serve_load.py MODEL rows.jsonl --minutes 60 --clients 8 --connections 1000 --json

The server is the real one, in a process of its own, with a key. Four parts, one after the other:

  one client    each document is asked of the server and of the engine that it runs (`slmbench extract`'s, in a process
                of its own), in turn and each first every second time, so that drift cancels; both give the same JSON
  load          clients that ask for one document after the other over kept connections; told to wait (429), they wait.
                Memory is looked at every second; the first fifth of the time, at most a minute, is warm-up
  connections   so many open at once before the first is asked over; then each asks for a document. /healthz is asked
                meanwhile over new connections
  faults        each done while a client goes on as it should

Exit code 1 says that something required was not so; each is named, here and in the file.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import _serve_faults
import numpy as np
from _serving import (
    EXTRACT,
    HOST,
    MIB,
    PATIENCE,
    Answer,
    Client,
    Document,
    Normal,
    Server,
    broken,
    parsed,
    request_head,
    request_headers,
    waits,
    whole,
)

from slmbench import documents, memory
from slmbench.bench import examples_of
from slmbench.core import BadInput, Example, SlmbenchError
from slmbench.exported import Exported, load_exported
from slmbench.extract import Asked, Extractor
from slmbench.files import json_text, write_atomic
from slmbench.metrics import percentile
from slmbench.progress import progress, say
from slmbench.publish.tables import markdown_table

MOST_RATIO = 1.15
"""Of one client's median to the engine's."""
MOST_GROWTH = 0.02
"""Memory is flat where the line through its samples rises, over all of them, by at most this share of the first."""
HEALTH_SECONDS = 5.0
"""Within which /healthz answers, whatever else is asked."""
AFTERWARDS = 8
"""Documents that are asked for again when all connections are gone."""
SPARE_FILES = 200
"""Files that this process has open beside its connections, at most."""


class Engine:
    """What the server runs, in a process of its own without the server."""

    def __init__(self, model: Path, threads: int | None) -> None:
        self._words = [sys.executable, os.path.abspath(__file__), str(model), "--engine"]
        self._words += ["--threads", str(threads)] if threads else []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        """{seconds, row} of a document. Raises SlmbenchError where the process has ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SlmbenchError("the engine's process has ended by itself; slmbench extract would say why.")
        found: dict[str, Any] = json.loads(line)
        return found


def answer_lines(model: Path, threads: int | None) -> int:
    """The other side of it: a row for each line of standard input, and the seconds that it took."""
    exported = load_exported(model)
    backend = exported.backend(threads)
    for line in sys.stdin:
        asked = json.loads(line)
        started = time.perf_counter()
        extractor = Extractor(exported, Asked(asked["schema"]), backend)
        (row,) = extractor.rows([documents.Document(asked["id"], asked["text"])])
        print(json.dumps({"seconds": time.perf_counter() - started, "row": row}), flush=True)
    return 0


def one_client(
    server: Server, model: Path, examples: Sequence[Example], threads: int | None
) -> tuple[dict[str, Any], list[Document]]:
    """Figures of the server and of the engine in turn, and the documents that both can answer."""
    asked = [{"id": e.id, "text": e.text, "schema": e.schema} for e in examples]
    client, differ = Client(server), []
    answered: list[Document] = []
    times: list[tuple[float, float]] = []
    reported: list[float] = []
    with Engine(model, threads) as engine, progress("one client", len(asked), "documents") as advance:
        for first in {json.dumps(a["schema"], sort_keys=True): a for a in asked}.values():
            engine.ask(first)
            client.ask("POST", EXTRACT, json.dumps(first).encode())
        for place, one in enumerate(asked):
            body = json.dumps(one).encode()
            if place % 2:
                answer, alone = client.ask("POST", EXTRACT, body), engine.ask(one)
            else:
                alone, answer = engine.ask(one), client.ask("POST", EXTRACT, body)
            value, expected = answer.json() or {}, alone["row"].get("json")
            if value.get("json") != expected or (answer.status == 200) != ("json" in alone["row"]):
                differ.append(one["id"])
            elif answer.status == 200:
                answered.append(Document(body, expected))
                reported.append(value["timings"]["total_ms"])
                times.append((1000 * answer.seconds, 1000 * alone["seconds"]))
            advance(1, "")
    client.close()
    if not answered:
        raise BadInput("none of these documents is answered; give others, or another model.")
    here, alone_ms = ([pair[i] for pair in times] for i in (0, 1))
    figures: dict[str, Any] = {
        "documents": len(asked),
        "answered": len(answered),
        "server": spread_of(here),
        "engine": spread_of(alone_ms),
        "server_reports_p50_ms": percentile(reported, 50),
        "differ": differ,
        "ms": [[round(a, 3), round(b, 3)] for a, b in times],
    }
    return {**figures, "ratio_p50": figures["server"]["p50_ms"] / figures["engine"]["p50_ms"]}, answered


def spread_of(ms: Sequence[float]) -> dict[str, float | None]:
    """Mean and percentiles of milliseconds."""
    found = {f"p{q}_ms": percentile(ms, q) for q in (50, 95, 99)}
    return {"mean_ms": sum(ms) / len(ms) if ms else None, **found}


def load(server: Server, asked: Sequence[Document], clients: int, seconds: float) -> dict[str, Any]:
    """Figures of so many clients for so long, and of the server's memory meanwhile."""
    order = random.Random(0).sample(range(len(asked)), len(asked))
    shuffled = [asked[i] for i in order]
    normals = [Normal(server, shuffled, i * len(asked) // clients) for i in range(clients)]
    samples: list[tuple[float, int]] = []
    started = time.perf_counter()
    for normal in normals:
        normal.start()
    every = min(1.0, seconds / 20)
    with progress("load", seconds, "s") as advance:
        while (at := time.perf_counter() - started) < seconds:
            samples.append((at, server.resident()))
            advance(every, f"{sum(len(n.answered) for n in normals)} answered")
            time.sleep(every)
    for normal in normals:
        normal.end()
    took = time.perf_counter() - started
    ms = [1000 * each for normal in normals for _, each in normal.answered]
    return {
        "clients": clients,
        "seconds": took,
        "answered": len(ms),
        "waited": sum(normal.waited for normal in normals),
        "errors": dict(sum((normal.errors for normal in normals), Counter())),
        "documents_per_s": len(ms) / took,
        **spread_of(ms),
        "memory": memory_line(samples, seconds),
    }


def memory_line(samples: Sequence[tuple[float, int]], seconds: float) -> dict[str, Any]:
    """How memory went after a warm-up, of (second, bytes)."""
    warm = min(60.0, seconds / 5)
    kept = [sample for sample in samples if sample[0] >= warm] or list(samples[-1:])
    at, held = (np.array(column, float) for column in zip(*kept, strict=True))
    slope = float(np.polyfit(at, held / MIB, 1)[0]) if len(kept) > 1 else 0.0
    rise = slope * float(at[-1] - at[0])
    return {
        "warm_up_s": warm,
        "first_mib": float(held[0]) / MIB,
        "last_mib": float(held[-1]) / MIB,
        "slope_mib_per_min": 60 * slope,
        "rise": rise / (float(held[0]) / MIB),
        "flat": bool(rise <= MOST_GROWTH * held[0] / MIB),
        "mib": [[round(second, 1), round(size / MIB, 1)] for second, size in samples],
    }


def many_connections(server: Server, asked: Sequence[Document], count: int) -> dict[str, Any]:
    """What became of so many connections at once, of /healthz meanwhile, and of the server afterwards."""
    more_files(count + SPARE_FILES)
    with watched_health(server) as health:
        outcomes, seconds = asyncio.run(_at_once(server, asked, count))
    say(f"connections {count}: {', '.join(f'{n} {kind}' for kind, n in outcomes.most_common())} in {seconds:.1f} s")
    client = Client(server)
    after = Counter(
        document.wrong(client.ask("POST", EXTRACT, document.body)) or "as before"
        for document in itertools.islice(itertools.cycle(asked), AFTERWARDS)
    )
    client.close()
    return {
        "connections": count,
        "outcomes": dict(outcomes),
        "seconds": seconds,
        "health": {
            "asked": len(health),
            "failed": sum(status != 200 for status, _ in health),
            "longest_s": max((each for _, each in health), default=None),
        },
        "afterwards": dict(after),
        "still_waiting": server.figure("slmbench_queue_length"),
    }


def more_files(count: int) -> None:
    """Let this process, and none that runs already, open so many files. Raises BadInput where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise BadInput(f"--connections: {count:,} open files are over this user's {hard:,}; give fewer connections.")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


@contextlib.contextmanager
def watched_health(server: Server) -> Iterator[list[tuple[int | None, float]]]:
    """(status, seconds) of /healthz, asked all the while, each time over a new connection; it grows."""
    found: list[tuple[int | None, float]] = []
    ends = threading.Event()

    def watch() -> None:
        while True:
            client, started = Client(server), time.perf_counter()
            try:
                found.append((client.ask("GET", "/healthz").status, time.perf_counter() - started))
            except (OSError, http.client.HTTPException):
                found.append((None, time.perf_counter() - started))
            client.close()
            if ends.wait(0.2):
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        ends.set()
        thread.join()


async def _at_once(server: Server, asked: Sequence[Document], count: int) -> tuple[Counter[str], float]:
    """(outcomes, seconds until the last) of so many connections, all of which are open before one is used."""
    opened = await asyncio.gather(
        *(asyncio.wait_for(asyncio.open_connection(HOST, server.port), PATIENCE) for _ in range(count)),
        return_exceptions=True,
    )
    started = time.perf_counter()
    chosen = itertools.cycle(asked)
    outcomes = await asyncio.gather(
        *(_outcome(server, way, document) for way, document in zip(opened, chosen, strict=False))
    )
    return Counter(outcomes), time.perf_counter() - started


async def _outcome(server: Server, way: Any, document: Document) -> str:
    """What became of one of them."""
    if isinstance(way, BaseException):
        return f"not opened, {broken(way)}"
    reader, writer = way
    said = {**request_headers(server.key), "Content-Length": str(len(document.body))}
    got = b""
    try:
        async with asyncio.timeout(PATIENCE):
            writer.write(request_head("POST", EXTRACT, said) + document.body)
            while not whole(got) and (part := await reader.read(2**16)):
                got += part
    except OSError as error:
        return broken(error)
    finally:
        writer.close()
    if not got:
        return "closed without an answer"
    return outcome_of(document, parsed(got, 0.0))


def outcome_of(document: Document, answer: Answer) -> str:
    """An answer as it is counted."""
    if answer.status == 429 and waits(answer):
        return "429"
    return document.wrong(answer) or "200"


def missed(found: dict[str, Any]) -> list[str]:
    """What was required and is not so, one sentence each."""
    said = []
    if "one_client" in found:
        one = found["one_client"]
        if one["ratio_p50"] > MOST_RATIO:
            said.append(f"one client: the median is {one['ratio_p50']:.2f} times the engine's, over {MOST_RATIO}.")
        if one["differ"]:
            said.append(f"one client: {len(one['differ'])} answers are not the engine's.")
    if "load" in found:
        said += [f"load: {n} times {kind}." for kind, n in found["load"]["errors"].items()]
        if not found["load"]["answered"]:
            said.append("load: nothing was answered.")
        if not found["load"]["memory"]["flat"]:
            rise = found["load"]["memory"]["rise"]
            said.append(f"load: memory rose by {100 * rise:.1f} % over the time, over {100 * MOST_GROWTH:g} %.")
    if "connections" in found:
        said += _missed_by_connections(found["connections"])
    if "faults" in found:
        faults = found["faults"]
        said += [f"{name}: {what}." for name, fault in faults["each"].items() for what in fault["missed"]]
        said += [
            f"faults: the client that went on met {n} times {kind}." for kind, n in faults["normal_errors"].items()
        ]
        if faults["connections_left"]:
            said.append(f"faults: {faults['connections_left']} connections are open still.")
    if found["ended"]["code"] != 0:
        said.append(f"ended: the server ended with {found['ended']['code']}, not 0.")
    if found["ended"]["tracebacks"]:
        said.append(f"ended: the server said {found['ended']['tracebacks']} tracebacks.")
    return said


def _missed_by_connections(found: dict[str, Any]) -> list[str]:
    said = [f"connections: {n} {kind}." for kind, n in found["outcomes"].items() if kind not in ("200", "429")]
    if not found["outcomes"].get("200"):
        said.append("connections: none was answered with 200.")
    health = found["health"]
    if health["failed"] or health["longest_s"] is None or health["longest_s"] > HEALTH_SECONDS:
        said.append(
            f"connections: /healthz failed {health['failed']} times of {health['asked']} and took up to"
            f" {health['longest_s'] or 0:.1f} s, over {HEALTH_SECONDS:g}."
        )
    said += [f"afterwards: {n} times {kind}." for kind, n in found["afterwards"].items() if kind != "as before"]
    if found["still_waiting"]:
        said.append(f"afterwards: {found['still_waiting']:.0f} requests wait still.")
    return said


PARTS = ("one_client", "load", "connections", "faults")


def measured(arguments: argparse.Namespace, exported: Exported, examples: Sequence[Example]) -> dict[str, Any]:
    """The whole result."""
    options = ["--threads", str(arguments.threads)] if arguments.threads is not None else []
    options += ["--queue", str(arguments.queue)] if arguments.queue is not None else []
    wanted = arguments.only or PARTS
    found: dict[str, Any] = {}
    with Server(arguments.model, options) as server:
        one, asked = one_client(server, arguments.model, examples, arguments.threads)
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "one_client": lambda: one,
            "load": lambda: load(server, asked, arguments.clients, 60 * arguments.minutes),
            "connections": lambda: many_connections(server, asked, arguments.connections),
            "faults": lambda: _serve_faults.measured(server, arguments.model, asked),
        }
        for name in PARTS:
            if name in wanted:
                found[name] = parts[name]()
    found["ended"] = {"code": server.code, "tracebacks": server.said.count("Traceback")}
    settings = {name: getattr(arguments, name) for name in ("minutes", "clients", "connections", "threads", "queue")}
    return {
        "model": {"name": exported.manifest.get("name"), "form": exported.manifest.get("form")},
        "split": Path(arguments.rows).name,
        "machine": memory.machine(),
        "settings": settings,
        **found,
        "missed": missed(found),
    }


def table(result: dict[str, Any]) -> str:
    """What was measured, and the faults, as two Markdown tables."""
    rows = [row for part, lines in (("one_client", _one_lines), ("load", _load_lines),
                                    ("connections", _connection_lines)) if part in result
            for row in lines(result[part])]  # fmt: skip
    model, machine = result["model"], result["machine"]
    where = (
        f"{model['name']}, {model['form']}; documents of {result['split']}; {machine['cpu']}, {machine['cores']} cores."
    )
    text = f"{markdown_table(['', ''], rows)}\n\n{where}"
    if "faults" in result:
        head = ["fault", "status", "what is said", "s", "others served", "longest, s"]
        cells = [
            [
                fault["says"], "closed" if fault["status"] is None else str(fault["status"]), fault["sentence"] or "–",
                f"{fault['seconds']:.2f}", str(fault["others_answered"]), f"{fault['others_longest_s']:.2f}",
            ]
            for fault in result["faults"]["each"].values()
        ]  # fmt: skip
        text += f"\n\n{markdown_table(head, cells)}"
    unmet = [f"- {line}" for line in result["missed"]]
    return "\n".join([text, "", "Missed:", "", *unmet]) if unmet else text


def _one_lines(part: dict[str, Any]) -> list[list[str]]:
    times = " / ".join
    return [
        [f"one client, {part['answered']} documents: p50 / p95, ms",
         times(f"{part['server'][f'p{q}_ms']:.1f}" for q in (50, 95))],
        ["the engine alone: p50 / p95, ms", times(f"{part['engine'][f'p{q}_ms']:.1f}" for q in (50, 95))],
        [f"ratio of medians (aim: at most {MOST_RATIO})", f"{part['ratio_p50']:.3f}"],
    ]  # fmt: skip


def _load_lines(part: dict[str, Any]) -> list[list[str]]:
    held = part["memory"]
    times = " / ".join("–" if part[f"p{q}_ms"] is None else f"{part[f'p{q}_ms']:.0f}" for q in (50, 95, 99))
    return [
        [f"{part['clients']} clients for {part['seconds'] / 60:.1f} min: answered, a second",
         f"{part['answered']:,}, {part['documents_per_s']:.2f}"],
        ["p50 / p95 / p99, ms", times],
        ["errors; told to wait and asked again", f"{sum(part['errors'].values())}; {part['waited']}"],
        ["memory after warm-up, at the end, MiB", f"{held['first_mib']:.0f}, {held['last_mib']:.0f}"],
        [f"its slope, MiB a minute (flat: at most {100 * MOST_GROWTH:g} % over the time)",
         f"{held['slope_mib_per_min']:+.2f} ({'flat' if held['flat'] else 'not flat'})"],
    ]  # fmt: skip


def _connection_lines(part: dict[str, Any]) -> list[list[str]]:
    kinds = dict(part["outcomes"])
    good = [str(kinds.pop(name, 0)) for name in ("200", "429")]
    longest = part["health"]["longest_s"]
    return [
        [f"{part['connections']:,} connections at once: 200, 429 with Retry-After", ", ".join(good)],
        ["hung, reset or otherwise", str(sum(kinds.values()))],
        ["all answered after, s", f"{part['seconds']:.1f}"],
        ["/healthz meanwhile: asked, failed, longest, s",
         f"{part['health']['asked']}, {part['health']['failed']}, {'–' if longest is None else f'{longest:.2f}'}"],
    ]  # fmt: skip


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", help="folder that slmbench export wrote")
    parser.add_argument("rows", nargs="?", metavar="ROWS", help="a split of its task, or a file of examples")
    parser.add_argument("--schemas", type=Path, metavar="DIR", help="folder of the schemas that a file names")
    parser.add_argument("--documents", type=int, metavar="N", help="so many, evenly spread (default: all)")
    parser.add_argument("--minutes", type=float, default=5.0, help="of the load (default: 5)")
    parser.add_argument("--clients", type=int, default=8, metavar="N", help="of the load (default: 8)")
    parser.add_argument("--connections", type=int, default=1000, metavar="N", help="at once (default: 1000)")
    parser.add_argument("--threads", type=int, metavar="N", help="of the server and of the engine (default: all cores)")
    parser.add_argument("--queue", type=int, metavar="N", help="of the server (default: its own)")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part, again for more (default: all)")
    parser.add_argument("--quick", action="store_true", help="little of everything, within two minutes")
    parser.add_argument("--json", action="store_true", help="JSON on standard output, the table on standard error")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the JSON there")
    parser.add_argument("--engine", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.minutes, arguments.clients, arguments.connections = 0.1, 2, 30
        arguments.documents = arguments.documents or 8
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 where all that is required is so."""
    arguments = parse(argv)
    try:
        if arguments.engine:
            return answer_lines(arguments.model, arguments.threads)
        if arguments.model is None or arguments.rows is None:
            raise BadInput("give a model's folder and documents, such as runs/edge_json_135m/export/int8 test.")
        for name in ("minutes", "clients", "connections"):
            if getattr(arguments, name) <= 0:
                raise BadInput(f"--{name} {getattr(arguments, name):g}: give more than 0.")
        exported = load_exported(arguments.model)
        examples = examples_of(exported, arguments.rows, arguments.schemas, arguments.documents)
        result = measured(arguments, exported, examples)
        if arguments.out:
            write_atomic(arguments.out, json_text(result))
    except SlmbenchError as error:
        say(f"serve_load: {error}")
        return error.exit_code
    except (OSError, http.client.HTTPException) as error:
        say(f"serve_load: a request that every client may make was not answered ({broken(error)}).")
        return 1
    (say if arguments.json else print)(table(result))
    if arguments.json:
        print(json.dumps(result))
    return int(bool(result["missed"]))


if __name__ == "__main__":
    sys.exit(main())
