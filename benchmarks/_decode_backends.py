"""The libraries that decode_peers.py compares with, each as a backend: one document at a time, greedily."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from slmbench.core import Completion, Finish, Request
from slmbench.decode.grammar import Grammars, Vocabulary, allowed, spelling_schema
from slmbench.exported import Exported

LOOKUP_TOKENS = 10
"""Drafted by prompt lookup at most."""
POSITIONS = 4096


class Library(ABC):
    """What the backends below share: from tokens to a completion.

    Args:
        exported: a model of the same weights, for its tokenizer and stop tokens.
        guided: whether schemas are enforced.
    """

    def __init__(self, exported: Exported, guided: bool) -> None:
        self.exported, self.guided = exported, guided
        self.stops: list[int] = exported.manifest["stops"]
        self.seen = 0.0

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """One completion for each request, in order."""
        for request in requests:
            started = time.perf_counter()
            self.seen = 0.0
            tokens = self.answer(request)[: request.max_new_tokens]
            seconds = time.perf_counter() - started
            end = next((i for i, token in enumerate(tokens) if token in self.stops), None)
            finish: Finish = "length" if end is None else "stop"
            text = self.exported.tokens.tokenizer.decode(tokens[:end], skip_special_tokens=False)
            yield Completion(
                request.id, text, tuple(tokens), finish, len(request.prompt_ids), len(tokens),
                self.seen - started if self.seen else None, seconds, 1, "schema" if self.guided else "free",
            )  # fmt: skip

    @abstractmethod
    def answer(self, request: Request) -> list[int]:
        """The tokens of an answer."""

    def first(self) -> None:
        """A first token was written just now."""
        self.seen = self.seen or time.perf_counter()


class Transformers(Library):
    """`generate` of transformers; guided by llguidance, which masks the logits of every step."""

    def __init__(
        self, exported: Exported, merged: Path, threads: int, guided: bool = False, lookup: bool = False
    ) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        super().__init__(exported, guided)
        torch.set_num_threads(threads)
        self.model = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.bfloat16, local_files_only=True).eval()
        self.settings = {"prompt_lookup_num_tokens": LOOKUP_TOKENS} if lookup else {}
        vocabulary = Vocabulary(exported.folder / "tokenizer.json", self.model.config.vocab_size, self.stops)
        self.grammars = Grammars(vocabulary)

    def answer(self, request: Request) -> list[int]:
        import torch
        from transformers import LogitsProcessor, LogitsProcessorList

        matcher = self.grammars.of(request.schema).start() if self.guided and request.schema else None
        begin, library = len(request.prompt_ids), self

        class Step(LogitsProcessor):  # type: ignore[misc]
            """Only what the grammar allows."""

            seen = begin

            def __call__(self, ids: Any, scores: Any) -> Any:
                if ids.shape[1] > begin and not library.settings:  # with lookup, what it sees are guesses
                    library.first()
                if matcher is None:
                    return scores
                for token in ids[0, self.seen :].tolist():
                    matcher.consume_token(token)
                self.seen = ids.shape[1]
                return scores.masked_fill(~torch.from_numpy(allowed(matcher, scores.shape[-1])), float("-inf"))

        ids = torch.tensor([request.prompt_ids])
        with torch.inference_mode():
            out = self.model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=request.max_new_tokens, do_sample=False,
                eos_token_id=self.stops, pad_token_id=self.exported.manifest["pad"],
                logits_processor=LogitsProcessorList([Step()]), **self.settings,
            )  # fmt: skip
        return list(out[0, begin:].tolist())


class OnnxGenai(Library):
    """onnxruntime-genai, int8 as its own builder makes it; with its own guidance and its own n-gram speculation."""

    def __init__(
        self, exported: Exported, merged: Path, threads: int, guided: bool = False, ngram: bool = False
    ) -> None:
        import onnxruntime_genai

        super().__init__(exported, guided)
        self.genai, self.ngram = onnxruntime_genai, ngram
        config = onnxruntime_genai.Config(str(built(merged)))
        config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
        self.model = onnxruntime_genai.Model(config)

    def answer(self, request: Request) -> list[int]:
        settings = self.genai.GeneratorParams(self.model)
        settings.set_search_options(
            max_length=len(request.prompt_ids) + request.max_new_tokens + 1, do_sample=False, batch_size=1
        )
        if self.guided and request.schema:
            settings.set_guidance("json_schema", json_schema(request))
        if self.ngram:
            settings.set_speculative_options(ngram_size=3, max_draft_tokens=LOOKUP_TOKENS)
        generator = self.genai.Generator(self.model, settings)
        generator.append_tokens(np.array(request.prompt_ids, np.int32))
        tokens: list[int] = []
        while not generator.is_done() and len(tokens) < request.max_new_tokens:
            generator.generate_next_token()
            self.first()
            tokens.extend(int(token) for token in generator.get_next_tokens())
            if tokens[-1] in self.stops:
                break
        return tokens


class OpenVino(Library):
    """openvino-genai over the GGUF file that llama.cpp has; with its own guidance and its own prompt lookup."""

    def __init__(
        self, exported: Exported, gguf: Path, threads: int, guided: bool = False, lookup: bool = False
    ) -> None:
        import openvino
        import openvino_genai

        super().__init__(exported, guided)
        self.genai, self.openvino, self.lookup = openvino_genai, openvino, lookup
        settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads}
        if lookup:
            settings["prompt_lookup"] = True
        self.pipeline = openvino_genai.LLMPipeline(str(gguf), "CPU", **settings)

    def answer(self, request: Request) -> list[int]:
        settings = self.genai.GenerationConfig()
        settings.max_new_tokens, settings.do_sample = request.max_new_tokens, False
        settings.eos_token_id, settings.stop_token_ids = self.stops[-1], set(self.stops)
        settings.apply_chat_template = False
        if self.lookup:
            settings.num_assistant_tokens, settings.max_ngram_size = LOOKUP_TOKENS, 3
        if self.guided and request.schema:
            settings.structured_output_config = self.genai.StructuredOutputConfig(json_schema=json_schema(request))
        ids = np.array([request.prompt_ids], np.int64)
        given = self.genai.TokenizedInputs(self.openvino.Tensor(ids), self.openvino.Tensor(np.ones_like(ids)))

        def seen(_: str) -> Any:
            self.first()
            return self.genai.StreamingStatus.RUNNING

        tokens = list(self.pipeline.generate(given, settings, streamer=seen).tokens[0])
        # It leaves the stop token out: an answer shorter than it might be has met one.
        ended = len(tokens) < request.max_new_tokens and tokens[-1:] != self.stops[-1:]
        return [*tokens, self.stops[-1]] if ended else tokens


class LlamaCppPython(Library):
    """llama.cpp compiled for this very processor: llama-cpp-python from source; with its grammar and prompt lookup."""

    def __init__(
        self, exported: Exported, gguf: Path, threads: int, guided: bool = False, lookup: bool = False
    ) -> None:
        import llama_cpp
        from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

        super().__init__(exported, guided)
        self.llama = llama_cpp
        self.model = llama_cpp.Llama(
            str(gguf), n_ctx=POSITIONS, n_threads=threads, n_threads_batch=threads, verbose=False, logits_all=lookup,
            draft_model=LlamaPromptLookupDecoding(num_pred_tokens=LOOKUP_TOKENS) if lookup else None,
        )  # fmt: skip
        self.grammars: dict[str, Any] = {}

    def answer(self, request: Request) -> list[int]:
        grammar = None
        if self.guided and request.schema:
            schema = json.dumps(request.schema)
            if schema not in self.grammars:
                self.grammars[schema] = self.llama.LlamaGrammar.from_json_schema(schema, verbose=False)
            grammar = self.grammars[schema]
        tokens: list[int] = []
        for token in self.model.generate(
            list(request.prompt_ids), temp=0.0, top_k=1, repeat_penalty=1.0, grammar=grammar
        ):
            self.first()
            tokens.append(int(token))
            if token in self.stops or len(tokens) >= request.max_new_tokens:
                break
        return tokens


def json_schema(request: Request) -> str:
    """A request's schema with the spelling that models were trained on, where a library takes such a wish."""
    return spelling_schema(json.dumps(request.schema), request.id)


def built(merged: Path) -> Path:
    """The model as onnxruntime-genai's builder writes it, in int8: made once, beside the merged one."""
    folder = merged.parent / "onnx-genai"
    if not (folder / "genai_config.json").is_file():
        options = ["-i", merged, "-o", folder, "-p", "int8", "-e", "cpu", "-c", folder / "cache"]
        subprocess.run(
            [sys.executable, "-m", "onnxruntime_genai.models.builder", *map(str, options),
             "--extra_options", "int4_accuracy_level=4"],
            check=True, capture_output=True,
        )  # fmt: skip
    return folder
