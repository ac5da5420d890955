"""slmbench: small language models that turn text into JSON under a schema, trained and measured on an ordinary CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slmbench.api import Extractor

__all__ = ["Extractor", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`Extractor`, loaded when it is first asked for: most of the package is used without it."""
    if name == "Extractor":
        from slmbench.api import Extractor

        return Extractor
    raise AttributeError(f"module 'slmbench' has no attribute {name!r}")
