"""What tests of decoding share: the tiny base's tokenizer, and its tokens as a grammar sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slmbench.decode.grammar import Vocabulary

END = 2


@pytest.fixture(scope="session")
def tokenizer(tiny_folder: Path) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(tiny_folder / "tokenizer.json"))


@pytest.fixture(scope="session")
def vocabulary(tiny_folder: Path, tokenizer: Any) -> Vocabulary:
    return Vocabulary(tiny_folder / "tokenizer.json", tokenizer.get_vocab_size(), [END])
