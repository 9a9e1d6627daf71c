"""A measurement replaces the tables of its own command in a document, and nothing else."""

import importlib.util
import sys

import pytest

from tests.benchmarks.document import END, PAGE, command_line, commands, replace_block

COMMAND = "python -m tests.benchmarks.accept --rounds 9"
DOCUMENT = f"""# Performance

Before.

```
{COMMAND}
```

| old |

{END}

- A comment that stays.

```
python -m tests.benchmarks.accept
```

| of other options |

{END}
"""


def test_tables_are_replaced_and_the_prose_around_them_is_kept() -> None:
    changed = replace_block(DOCUMENT, COMMAND, "| new |")
    assert changed == DOCUMENT.replace("| old |", "| new |")


def test_a_command_that_the_document_lacks_is_added_at_its_end() -> None:
    changed = replace_block(DOCUMENT, "python -m tests.benchmarks.cost", "| cost |")
    assert changed.startswith(DOCUMENT.rstrip())
    assert [name for name, _ in commands(changed)] == ["accept", "accept", "cost"]


def test_the_first_measurement_makes_the_document() -> None:
    assert commands(replace_block("", COMMAND, "| new |")) == [("accept", COMMAND)]


@pytest.mark.parametrize("option", [["--markdown", "page.md"], ["--markdown=page.md"]])
def test_the_command_is_shown_without_the_document(option: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/any/tests/benchmarks/accept.py", *option, "--rounds", "9"])
    assert command_line() == COMMAND


def test_every_block_of_the_page_is_complete_and_names_a_benchmark() -> None:
    page = PAGE.read_text()
    named = commands(page)
    assert len(named) == page.count(END) == page.count("python -m tests.benchmarks.") - page.count("`python -m tests.")
    assert all(importlib.util.find_spec(f"tests.benchmarks.{name}") for name, _ in named)
