"""The summary at a moment is the newest that has seen nothing later."""

from pathlib import Path

import pytest

from model_store.data.dataset import DatasetError
from model_store.data.summaries import SUMMARIES, Step, read_summaries


def test_the_summary_at_a_cut_has_seen_no_later_event(tmp_path: Path) -> None:
    (tmp_path / SUMMARIES).write_text(
        '{"user_id": "u", "events": 6, "summary": "b"}\n'
        '{"user_id": "u", "events": 3, "summary": "a"}\n'
        '{"user_id": 7, "events": 2, "summary": "c"}\n'
    )
    summaries = read_summaries(tmp_path / SUMMARIES)
    found = [summaries.at("u", cut) for cut in (0, 2, 3, 5, 6, 100)]
    assert found == [Step(0, ""), Step(0, ""), Step(3, "a"), Step(3, "a"), Step(6, "b"), Step(6, "b")]
    assert summaries.at("7", 2) == Step(2, "c")
    assert summaries.at("nobody", 9) == Step(0, "")
    assert len(summaries) == 2


@pytest.mark.parametrize("line", ['{"user_id": "u", "events": 3}', '{"user_id": "u"', '{"events": "x", "user_id": 1}'])
def test_a_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / SUMMARIES).write_text('{"user_id": "u", "events": 3, "summary": ""}\n' + line)
    with pytest.raises(DatasetError, match="line 2"):
        read_summaries(tmp_path / SUMMARIES)


def test_a_missing_file_names_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="data summarize"):
        read_summaries(tmp_path / SUMMARIES)
