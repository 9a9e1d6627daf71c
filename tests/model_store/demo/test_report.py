"""The demo's report, on a model that has learned nothing."""

from pathlib import Path

import pytest

from model_store.data.dataset import read_dataset
from model_store.demo.report import MODEL, NO_PICTURES, NO_WORDS, ORACLE, PROTOCOL, RULE_SUMMARY, DemoReport, report
from model_store.demo.truth import read_truth
from model_store.demo.world import make_items
from model_store.evaluate.baselines import POPULARITY
from model_store.evaluate.protocol import make_cases
from model_store.msr.scratch.publish import Trained
from model_store.progress import quiet
from tests.model_store.msr.conftest import Tiny


@pytest.fixture(scope="module")
def measured(tiny: Tiny, world: Path) -> DemoReport:
    dataset = read_dataset(world)
    trained = Trained(tiny.model, tiny.encoder, tiny.catalogue, tiny.sizes, steps=0, minutes=0.0)
    truth = read_truth(world, make_items(80, seed=3))
    return report(trained, dataset, truth, dataset, quiet)


def test_all_methods_answer_the_same_cases(measured: DemoReport, world: Path) -> None:
    methods = measured.table.rows.keys()
    assert methods == {ORACLE, MODEL, RULE_SUMMARY, NO_PICTURES, NO_WORDS, POPULARITY}
    assert measured.table.cases == len(make_cases(read_dataset(world), PROTOCOL))


def test_an_untrained_model_is_not_flattered(measured: DemoReport) -> None:
    assert measured.table.rows[ORACLE].auc.mean > 0.9
    assert measured.table.rows[MODEL].auc.mean < 0.8
    assert measured.described == 0
    assert measured.summaries.recall.mean < measured.rule_summaries.recall.mean


def test_the_report_is_printed_and_kept(measured: DemoReport) -> None:
    assert "gap between popularity and oracle closed" in str(measured)
    assert measured.summary()["methods"][ORACLE]["auc"] > 90
