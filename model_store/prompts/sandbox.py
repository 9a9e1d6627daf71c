"""Jinja for the templates of model versions, which are untrusted.

Templates can neither reach attributes outside of the texts that they are given, nor change anything, nor write an
unbounded prompt. vLLM runs the chat templates (`score.jinja`, the checkpoint's own) in the sandbox of transformers.
"""

from pathlib import Path
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_CHARACTERS = 1_000_000
"""Of one rendered prompt, far more than any model here can read."""


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """The templates of one folder; undefined names are errors."""

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
            jinja2.TemplateError: an undefined name, a forbidden operation, or more than `MAX_CHARACTERS`.
        """
        pieces, length = [], 0
        for piece in self.get_template(name).generate(**values):
            pieces.append(piece)
            length += len(piece)
            if length > MAX_CHARACTERS:
                raise SecurityError(f"{name} renders a prompt of more than {MAX_CHARACTERS} characters")
        return "".join(pieces).strip()
