"""For the documentation site (`mkdocs.yml`): the examples of docstrings, lines with `>>>`, are shown as code."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\n).*)*", re.MULTILINE)
_DIRECTIVE = re.compile(r" +# doctest: .*")


class Examples(Extension):
    """Puts a fence around every example."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Called for everything that has been read."""
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub(
                lambda match: f"```pycon\n{_DIRECTIVE.sub('', match[0])}\n```", obj.docstring.value
            )
