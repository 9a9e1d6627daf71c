"""The results in the two forms that the Hugging Face Hub reads."""

from collections.abc import Iterator

from model_store.evaluate.results import Board, Estimate, Evaluation, MethodResult
from model_store.registry.manifest import Manifest


def model_card(evaluation: Evaluation, manifest: Manifest) -> str:
    """A model card, README.md: metadata with a `model-index`, then text."""
    from huggingface_hub import EvalResult, ModelCardData

    shown = [
        EvalResult(
            task_type="other",
            task_name="Recommendation",
            dataset_type=evaluation.data.name,
            dataset_name=f"{evaluation.data.name}, {board.description}",
            dataset_config=board.protocol,
            dataset_split="test",
            metric_type=kind,
            metric_name=f"{name} ({method.name})",
            metric_value=round(100 * estimate.value, 2),
        )
        for board in evaluation.first
        for method in board.methods[:2]
        for kind, name, estimate in _metrics(method)
    ]
    data = ModelCardData(
        model_name=evaluation.version,
        eval_results=shown,
        library_name="tastestream",
        tags=["recommendation", "multimodal", "vllm"],
        metrics=["roc_auc"],
    )
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(_text(evaluation, manifest))


def eval_results(evaluation: Evaluation) -> str:
    """`.eval_results/*.yaml`: one entry for each board, the AUC of the service's order."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    from huggingface_hub.utils._fixes import yaml_dump

    entries = [
        EvalResultEntry(
            dataset_id=evaluation.data.name,
            task_id=board.protocol,
            value=round(100 * board.methods[0].auc.value, 2),
            date=evaluation.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            notes=f"AUC per user in percent, {board.methods[0].name}; {board.description}; {board.cases} users",
        )
        for board in evaluation.first
    ]
    return yaml_dump(eval_result_entries_to_yaml(entries), sort_keys=False)


def _metrics(method: MethodResult) -> Iterator[tuple[str, str, Estimate]]:
    yield "roc_auc", "AUC per user, %", method.auc
    for k in method.hit_rate:
        yield f"hit_rate_at_{k}", f"HR@{k}, %", method.hit_rate[k]
        yield f"ndcg_at_{k}", f"NDCG@{k}, %", method.ndcg[k]
        yield f"mrr_at_{k}", f"MRR@{k}, %", method.mrr[k]


def _text(evaluation: Evaluation, manifest: Manifest) -> Iterator[str]:
    training = manifest.training
    yield f"# {evaluation.version}\n"
    yield "A ranker for Tastestream: p(yes) of one candidate for one user, from a summary of the user's preferences,"
    yield "recent events, and the candidate's picture and text.\n"
    yield f"- Base: {manifest.base or 'unknown'}"
    if training.parameters:
        yield f"- Parameters: {training.parameters:,}"
    if training.data:
        yield f"- Trained on: {training.data}"
    if training.command:
        yield f"- Command: `{training.command}`"
    if training.held_out:
        yield f"- Users kept apart: `{training.held_out}`"
    yield f"- Summaries by: {evaluation.summarizer}, {evaluation.folding}"
    yield f"- Weights: SHA-256 `{manifest.weights_sha256}`\n"
    yield "## Evaluation\n"
    yield f"{evaluation.created:%Y-%m-%d}, `{evaluation.command}`. Percent, with 95 % bootstrap intervals over users.\n"
    for board in evaluation.first:
        yield from _table(board)
    yield "## Limits\n"
    yield "Figures hold for this data and these candidates alone: sampled metrics say nothing about other protocols."
    yield "Texts and pictures of items are written by others, and may mislead the model."


def _table(board: Board) -> Iterator[str]:
    yield f"### {board.protocol}: {board.description}, {board.cases} users\n"
    k = next(iter(board.methods[0].hit_rate))
    yield f"| method | AUC | HR@{k} | NDCG@{k} | MRR@{k} |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for method in board.methods:
        cells = (method.auc, method.hit_rate[k], method.ndcg[k], method.mrr[k])
        yield f"| {method.name} | {' | '.join(map(_cell, cells))} |"
    yield ""


def _cell(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
