"""Every code of a warning is documented, and no other."""

import re
from pathlib import Path
from typing import get_args

from service.recommend.schemas import WarningCode

API = Path(__file__).parents[3] / "docs" / "api.md"


def test_the_table_of_warnings_is_that_of_the_code() -> None:
    """The type checker makes sure that no other code is used."""
    table = re.search(r"^\| code \| meaning \|\n(.+?)\n\n", API.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert table is not None
    rows = [line.split("|")[1] for line in table[1].splitlines()]
    documented = [code for row in rows[1:] for code in re.findall(r"`(\w+)`", row)]
    assert sorted(documented) == sorted(get_args(WarningCode))
