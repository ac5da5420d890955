"""The scripts of benchmarks/, called in this process: each of its own would load torch and transformers first."""

from __future__ import annotations

import importlib
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any


def benchmark(script: str, *arguments: object) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of `benchmarks/SCRIPT`, as its command line gives them."""
    main: Any = importlib.import_module(Path(script).stem).main
    # Files, not strings: what a script starts may be given its streams.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        with redirect_stdout(out), redirect_stderr(errors):
            code = main([str(argument) for argument in arguments])
        for stream in (out, errors):
            stream.seek(0)
        return code, out.read(), errors.read()
