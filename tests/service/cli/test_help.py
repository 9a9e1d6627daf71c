"""Every command has a summary, a help text for each parameter, and a valid example."""

import shlex
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import typer.main

from service.cli.main import app

ROOT = typer.main.get_command(app)


def commands(group: Any = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that is for people, by its words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        elif not command.hidden:
            yield (*path, name), command


COMMANDS = dict(commands())


@pytest.fixture(params=COMMANDS, ids=" ".join)
def path(request: pytest.FixtureRequest) -> tuple[str, ...]:
    path: tuple[str, ...] = request.param
    return path


def test_the_commands_are_those_that_the_documentation_names() -> None:
    assert {" ".join(path) for path in COMMANDS} == {
        "up",
        "gateway",
        "worker",
        "encoder",
        "items import",
        "events export",
        "users erase",
        "summaries rebuild",
        "pictures prune",
        "dead-letters list",
        "dead-letters retry",
        "dead-letters drop",
        "keys create",
        "keys list",
        "keys revoke",
        "tenants list",
        "tenants erase",
        "data import",
        "data pictures",
        "data check",
        "data prepare",
        "data hide-items",
        "data describe",
        "data summarize",
        "train",
        "evaluate",
        "replay",
        "models embed",
        "models train-embedder",
        "models add",
        "models compare",
        "models end",
        "models evaluate-retrieval",
        "models fetch-parts",
        "models finetune",
        "models gc",
        "models list",
        "models ope",
        "recommendations export",
        "models serve",
        "models show",
        "models probe",
        "models promote",
        "models refit-blend",
        "models rollback",
        "models train-parts",
        "models vllm-flags",
    }


def test_every_command_has_one_valid_example(path: tuple[str, ...]) -> None:
    _, *examples = (COMMANDS[path].help or "").split("Example:\n\n")
    (example,) = examples
    words = shlex.split(example[example.index("tastestream ") :])[1:]
    assert tuple(words[: len(path)]) == path
    COMMANDS[path].make_context("example", words[len(path) :])


def test_every_parameter_is_explained_by_a_sentence(path: tuple[str, ...]) -> None:
    for parameter in COMMANDS[path].params:
        text = getattr(parameter, "help", "") or ""
        assert parameter.name == "help" or text.endswith((".", "...")), parameter.name


def test_no_fraction_may_be_infinite_and_every_seed_is_one_that_numpy_and_torch_take(path: tuple[str, ...]) -> None:
    for parameter in COMMANDS[path].params:
        least, most = (getattr(parameter, bound, None) for bound in ("min", "max"))
        if parameter.name == "seed":
            assert (least, most) == (0, 2**32 - 1)
        elif float in {parameter.type_descriptor.annotation, *get_args(parameter.type_descriptor.annotation)}:
            assert least is not None, parameter.name
            assert most is not None, parameter.name
