"""The sizing table is the script's, and its arithmetic agrees with what is known of the models."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import sizing

ROOT = Path(__file__).parents[2]


def test_the_page_shows_what_the_script_computes() -> None:
    page = (ROOT / "docs/operating/sizing.md").read_text("utf-8")
    (shown,) = re.findall(r"sizing\.py`\. -->\n\n(.+?)\n<!-- end of table -->", page, re.DOTALL)
    computed = subprocess.run([sys.executable, ROOT / "deploy/sizing.py"], capture_output=True, text=True, check=True)
    assert shown == computed.stdout


@pytest.mark.parametrize(("name", "billions"), [("2B", 1.72), ("4B", 4.02), ("8B", 8.19)])
def test_the_language_models_have_as_many_parameters_as_published(name: str, billions: float) -> None:
    model = next(one for one in sizing.MODELS if one.name == name)
    assert (model.parameters - model.vision_parameters) / 1e9 == pytest.approx(billions, rel=0.01)


def test_longer_prompts_larger_models_and_slower_gpus_rank_less() -> None:
    def rate(model: int = 1, gpu: int = 3, candidate: float = 100.0) -> float:
        prompts = sizing.Prompts(user=500, candidate=candidate, picture=49, fold=500, answer=100)
        return sizing.candidates_per_second(sizing.MODELS[model], sizing.GPUS[gpu], prompts, 0.4, pictures=True)

    assert rate() > rate(candidate=200) > 0
    assert rate() > rate(model=2) > rate(model=3)
    assert rate() > rate(gpu=0)


def test_a_model_that_does_not_fit_has_no_rate() -> None:
    rows = [line.split(" | ") for line in sizing.table(sizing.MEASURED, 0.4)]
    (row,) = [one for one in rows if one[0] == "| 8B" and one[3] == "L4"]
    assert set(row[4:]) <= {"-", "- |"}
