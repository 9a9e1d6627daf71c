"""A version's templates are untrusted: they reach nothing, change nothing and render small prompts."""

import shutil
from pathlib import Path

import pytest
from jinja2.exceptions import SecurityError, TemplateError

from model_store.prompts import BUILT_IN, PromptSet
from model_store.views import InteractionView, ItemView, UserView

USER = UserView("Likes jazz.", (InteractionView("like", ItemView("One")),))


def prompts_with(tmp_path: Path, template: str) -> PromptSet:
    shutil.copytree(BUILT_IN / "compact", tmp_path / "prompts")
    (tmp_path / "prompts" / "rank_user.j2").write_text(template)
    return PromptSet(tmp_path / "prompts")


@pytest.mark.parametrize(
    "template",
    [
        "{{ summary.__class__.__mro__[1].__subclasses__() }}",
        "{{ recents.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ ''.format.__self__ }}",
        "{{ '{0.__class__}'.format(summary) }}",
        "{{ recents.append(1) }}",
        "{% include '/etc/passwd' %}",
        "{% include '../default/rank_user.j2' %}",
    ],
)
def test_a_template_reaches_nothing_but_its_texts(template: str, tmp_path: Path) -> None:
    with pytest.raises(TemplateError):
        prompts_with(tmp_path, template).rank_user(USER)


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 10**9 }}",
        "{{ summary * 1000000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{% for i in range(99999) %}{{ 'a lot of words ' }}{% endfor %}",
    ],
)
def test_a_template_writes_a_bounded_prompt(template: str, tmp_path: Path) -> None:
    with pytest.raises(SecurityError):
        prompts_with(tmp_path, template).rank_user(USER)


def test_arithmetic_and_macros_work(tmp_path: Path) -> None:
    template = "{% macro twice(n) %}{{ 2 * n }}{% endmacro %}{{ summary }} {{ twice(recents | length) }}"
    assert prompts_with(tmp_path, template).rank_user(USER) == "Likes jazz. 2"
