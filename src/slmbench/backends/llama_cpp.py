"""A GGUF file on llama.cpp, by the wheel `xllamacpp`: its own loop, one document at a time, under its own grammar."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from slmbench.core import BadInput, Completion, Finish, Request, SlmbenchError
from slmbench.decode.grammar import spelling_schema

POSITIONS = 4096


class LlamaCpp:
    """Greedy decoding by llama.cpp.

    Args:
        file: the model.
        threads: of the processor.
        speculative: its way of drafting without a second model, as it names it ("NGRAM_SIMPLE"); None for none.
    """

    positions = POSITIONS
    """Tokens of prompt and answer that the model holds."""

    def __init__(self, file: Path, threads: int, speculative: str | None = None) -> None:
        try:
            import xllamacpp
        except ImportError:
            raise SlmbenchError("this export runs on llama.cpp: pip install 'slmbench[gguf]'.") from None

        settings = xllamacpp.CommonParams()
        settings.model.path = str(file)
        settings.n_ctx, settings.n_parallel, settings.n_gpu_layers = POSITIONS, 1, 0
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
        settings.warmup, settings.verbosity = False, 0
        if speculative:
            kinds = xllamacpp.common_speculative_type
            settings.speculative.types = [getattr(kinds, f"COMMON_SPECULATIVE_TYPE_{speculative}")]
        try:
            self.server = xllamacpp.Server(settings)
        except (RuntimeError, ValueError) as error:
            raise SlmbenchError(f"{file}: llama.cpp does not load it ({error}); export the model again.") from None

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """One completion for each request, in order; of tokens, llama.cpp gives back their number only.

        Raises BadInput where a prompt leaves no room for an answer, or the answer is to be grounded.
        """
        for request in requests:
            if request.grounded:
                raise BadInput(
                    f"{request.id}: llama.cpp cannot ground an answer in its document; export to int8 for that."
                )
            if len(request.prompt_ids) >= POSITIONS:
                raise BadInput(
                    f"{request.id}: {len(request.prompt_ids)} tokens are over the {POSITIONS - 1} that this model"
                    f" reads; give a shorter document."
                )
            started = time.perf_counter()
            asked: dict[str, Any] = {
                "prompt": list(request.prompt_ids), "n_predict": request.max_new_tokens, "temperature": 0.0,
            }  # fmt: skip
            if request.schema is not None:
                asked["grammar"] = _grammar(json.dumps(request.schema), request.id)
            said = self.server.handle_completions(asked)
            said = json.loads(said) if isinstance(said, str | bytes) else said
            seconds = time.perf_counter() - started
            if "choices" not in said:
                raise SlmbenchError(f"{request.id}: llama.cpp says {json.dumps(said.get('error', said))[:300]}.")
            finish: Finish = "stop" if said["choices"][0]["finish_reason"] == "stop" else "length"
            timings, written = said["timings"], int(said["usage"]["completion_tokens"])
            yield Completion(
                id=request.id,
                text=said["choices"][0]["text"],
                token_ids=(),
                finish=finish,
                prompt_tokens=len(request.prompt_ids),
                output_tokens=written,
                first_token_s=seconds - float(timings["predicted_ms"]) / 1000,
                total_s=seconds,
                batch=1,
                constraint="free" if request.schema is None else "schema",
            )


@functools.lru_cache(maxsize=256)
def _grammar(schema: str, where: str) -> str:
    """A schema as the Lark form of llguidance, which llama.cpp takes."""
    return f"%llguidance {{}}\nstart: %json {spelling_schema(schema, where)}"


def open_backend(folder: Path, threads: int) -> LlamaCpp:
    """The backend of an exported folder."""
    return LlamaCpp(folder / "model.gguf", threads)
