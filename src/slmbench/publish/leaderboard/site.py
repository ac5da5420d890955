"""The whole site in a folder: made from the results alone, the same bytes each time, swapped in when it is whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from slmbench.core import BadInput
from slmbench.files import file_sha256, json_text, partial_folder, read_json, write_errors
from slmbench.publish.leaderboard import answers, tools
from slmbench.publish.leaderboard.entries import Board, Result, boards, check_numbers, load
from slmbench.publish.leaderboard.front import front, placed
from slmbench.publish.leaderboard.method import method
from slmbench.publish.leaderboard.model import Curve, model, recipe_yaml
from slmbench.publish.leaderboard.quoted import load_quoted
from slmbench.publish.leaderboard.testset import test_set
from slmbench.publish.stored import samples_path

STATIC = Path(__file__).parents[2] / "static" / "leaderboard"
KINDS = (".css", ".js")
MANIFEST = "site.json"
MAKER = "slmbench leaderboard build"
Files = dict[str, bytes]


def build(results: Path, out: Path, method_file: Path | None = None) -> list[str]:
    """Make the site of a folder of results in `out`, and return the paths of its files.

    `method_file` is the Markdown of the method page; without it there is none. What `out` holds is replaced only if
    all of it was written by this function, and only once the new site is whole. Raises BadInput where it is not,
    where there are no results, or where one is broken; SlmbenchError where the disk is full.
    """
    out = out.resolve()
    check_ours(out)
    if results.resolve().is_relative_to(out):
        raise BadInput(f"{out}: holds the results themselves; give another folder with --out.")
    files = pages(results, method_file)
    listed = {path: hashlib.sha256(content).hexdigest() for path, content in sorted(files.items())}
    files[MANIFEST] = json_text({"made_by": MAKER, "files": listed}).encode("utf-8")
    with write_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with partial_folder(out) as folder:
        for path, content in sorted(files.items()):
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    return sorted(files)


def check_ours(out: Path) -> None:
    """Raises BadInput where a folder holds anything that is not as `build` left it."""
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir():
        raise BadInput(f"{out}: is no folder; give another with --out.")
    there = sorted(path for path in out.rglob("*") if path.is_symlink() or not path.is_dir())
    if not there:
        return
    another = "move it elsewhere, or give another folder with --out"
    if not (out / MANIFEST).is_file():
        raise BadInput(f"{out}: holds {there[0].relative_to(out)}, and was not made by {MAKER}; {another}.")
    made = read_json(out / MANIFEST, another)
    listed = made.get("files")
    if made.get("made_by") != MAKER or not isinstance(listed, dict):
        raise BadInput(f"{out}: its {MANIFEST} is not one of {MAKER}; {another}.")
    for path in there:
        name = path.relative_to(out).as_posix()
        if name != MANIFEST and (name not in listed or path.is_symlink() or listed[name] != file_sha256(path)):
            raise BadInput(f"{path}: was not written by {MAKER}, or changed since; {another}.")


def pages(results: Path, method_file: Path | None) -> Files:
    """Every file of the site by its path, but for its manifest."""
    found = load(results)
    sets = boards(found)
    rows = [placed(board, number) for number, board in enumerate(sets)]
    files = {f"static/{path.name}": path.read_bytes() for path in sorted(STATIC.iterdir()) if path.suffix in KINDS}
    texts = {
        "index.html": front(found, sets, list(chain(*rows)), load_quoted(), method_file is not None),
        "compare.html": tools.compare(sets, method_file is not None),
        "documents.html": tools.documents(sets, method_file is not None),
    }
    if method_file is not None:
        texts["method.html"] = method(_read(method_file))
    for board, own_rows in zip(sets, rows, strict=True):
        texts[f"tests/{board.key}.html"] = test_set(board, own_rows, method_file is not None)
        texts[f"data/{board.key}.js"] = answers.script(board)
    for result in found:
        own = _own_boards(result, sets)
        texts[f"models/{result.page}.html"] = model(result, own, _curve(result), method_file is not None)
        texts[f"recipes/{result.page}.yaml"] = recipe_yaml(result)
        copy = Path("results") / f"{result.page}.json"
        files[copy.as_posix()] = result.path.read_bytes()
        files[samples_path(copy).as_posix()] = samples_path(result.path).read_bytes()
    return files | {path: text.encode("utf-8") for path, text in texts.items()}


def _own_boards(result: Result, sets: Sequence[Board]) -> Mapping[str, Board]:
    """The boards that a result is on, by the names that its record has for them, in its recipe's order."""
    found = {entry.test: board for board in sets for entry in board.entries if entry.result is result}
    return {test.name: found[test.name] for test in result.recipe.data.tests}


def _curve(result: Result) -> Curve:
    """The learning curve that stands beside a result, nothing where there is none."""
    path = result.path.parent / "curves" / result.path.name
    if not path.is_file():
        return []
    remedy = "make it again with benchmarks/learning_curve.py, or take it away"
    try:
        points: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        for point in points:
            check_numbers(point, ("rows", "epochs", "seconds"))
            check_numbers(point["json_exact"], ("k", "n", "value", "low", "high"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path}: not a learning curve ({type(error).__name__}: {error}); {remedy}.") from None
    return points


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: cannot be read ({error}); give the Markdown of the method with --method.") from None
