"""Jinja for templates that come with a model version: they may be a stranger's.

They reach no attribute that leads out of the texts they are given, change nothing, and write a bounded prompt. The chat
templates (`score.jinja`, the checkpoint's own) are run by vLLM, in the sandbox of transformers.
"""

from pathlib import Path
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

MOST_CHARACTERS = 1_000_000
"""Of one rendered prompt: no model here reads nearly as much."""


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """Templates of one folder; names that they don't know are errors."""

    intercepted_binops = frozenset(("*", "**"))

    def __init__(self, folder: Path) -> None:
        super().__init__(
            loader=jinja2.FileSystemLoader(folder),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            autoescape=False,
        )

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" or not all(isinstance(side, (int, float)) for side in (left, right)):
            raise SecurityError(f"a prompt template may not multiply texts or raise to powers ({operator})")
        return super().call_binop(context, operator, left, right)

    def render(self, name: str, **values: Any) -> str:
        """The text of template `name`, stripped.

        Raises:
            jinja2.TemplateError: an unknown name, something forbidden, or more than `MOST_CHARACTERS`.
        """
        pieces, length = [], 0
        for piece in self.get_template(name).generate(**values):
            pieces.append(piece)
            length += len(piece)
            if length > MOST_CHARACTERS:
                raise SecurityError(f"{name} makes a prompt of more than {MOST_CHARACTERS} characters")
        return "".join(pieces).strip()
