"""The files of an evaluation: a page to read, a JSON file for programs, and two forms for the Hugging Face Hub."""

from model_store.evaluate.report.model_card import eval_results, model_card
from model_store.evaluate.report.page import page
from model_store.evaluate.results import Evaluation
from model_store.registry.evaluations import REPORT
from model_store.registry.manifest import Manifest

PAGE, CARD = "report.html", "README.md"


def files(evaluation: Evaluation, manifest: Manifest) -> dict[str, bytes]:
    """The content of each file by its path within the evaluation's folder."""
    texts = {
        PAGE: page(evaluation),
        REPORT: evaluation.model_dump_json(indent=1),
        CARD: model_card(evaluation, manifest),
        f".eval_results/{evaluation.data.name}.yaml": eval_results(evaluation),
    }
    return {path: text.encode() for path, text in texts.items()}
