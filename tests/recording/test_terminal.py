"""Promises of the terminal that a recording is read by."""

import pytest

from tests.recording.terminal import PLAIN, Run, Style, Terminal


def shown(terminal: Terminal) -> list[list[str]]:
    """The text of every version of every line."""
    return [[" ".join(run.text for run in runs) for _, runs in line.versions] for line in terminal.lines]


def test_a_line_keeps_all_that_it_showed_with_its_seconds() -> None:
    terminal = Terminal(20)
    terminal.feed(1.0, "50 %")
    terminal.feed(2.0, "\r\x1b[2K100 %")
    terminal.feed(3.0, "\r\ndone\r\n")
    assert shown(terminal) == [["50 %", "100 %"], ["done"], []]
    assert [second for second, _ in terminal.lines[0].versions] == [1.0, 2.0]
    assert terminal.lines[1].versions[0][0] == 3.0


def test_a_line_that_the_cursor_moves_up_to_is_rewritten() -> None:
    terminal = Terminal(20)
    terminal.feed(0.0, "first\r\nsecond")
    terminal.feed(1.0, "\x1b[1A\r\x1b[Kother")
    assert shown(terminal) == [["first", "other"], ["second"]]


def test_styles_are_kept_and_columns_hold() -> None:
    terminal = Terminal(40)
    terminal.feed(0.0, "  \x1b[1;32mlike\x1b[0m   a title  \x1b[2mred\x1b[0m")
    assert terminal.lines[0].versions[0][1] == (
        Run(2, "like", Style("green", bold=True)),
        Run(9, "a title", PLAIN),
        Run(18, "red", Style(dim=True)),
    )


@pytest.mark.parametrize("cut", range(1, 14))
def test_an_escape_sequence_may_come_in_two_pieces(cut: int) -> None:
    text = "a\x1b[31mb\x1b[0mc"
    terminal = Terminal(20)
    terminal.feed(0.0, text[:cut])
    terminal.feed(0.0, text[cut:])
    assert terminal.lines[0].versions[-1][1] == (Run(0, "a", PLAIN), Run(1, "b", Style("red")), Run(2, "c", PLAIN))


def test_long_lines_wrap() -> None:
    terminal = Terminal(4)
    terminal.feed(0.0, "abcdefgh\r\ni")
    assert shown(terminal) == [["abcd"], ["efgh"], ["i"]]


def test_links_and_cursor_visibility_print_nothing() -> None:
    terminal = Terminal(20)
    terminal.feed(0.0, "\x1b[?25l\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\x1b[?25h")
    assert shown(terminal) == [["link"]]
