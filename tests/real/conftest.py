from __future__ import annotations

from typing import Any

import pytest

from slmbench import models


@pytest.fixture(scope="session")
def base() -> models.BaseModel:
    """The real weights: downloaded and converted once, then cached."""
    return models.find("smollm2-135m")


@pytest.fixture(scope="session")
def rows(base: models.BaseModel) -> list[Any]:
    """The first documents of the test split as tokens."""
    from slmbench.tasks.edge_json import TASK
    from slmbench.template import encode

    tokenizer = models.load_tokenizer(base)
    return [encode(example, tokenizer, "plain") for example in TASK.load("test")[:12]]
