"""What prompt injection achieves with a model, and what each guard against it is worth.

Users of the demo's world like an item whose author attacks: the texts are those of `tests/security/attacks.jsonl`. Each
attack is tried on every user, with all guards, with each of them off in turn, and with none.

Places are those that the attacker's item wins among the candidates of a request, against the same item without the
attack: mean over attacks and users, and its 95 % interval over users. A summary is taken over when it is stored and
says what the attacker wanted; overwritten, when it is stored and has lost more than half of what it states without the
attack; refused, when it is not stored: the fold is tried again, and its events become dead letters after the last
attempt. Controls are what shops write without any aim, in the same fields: what they achieve is no attack.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tests.benchmarks.command import run
from tests.benchmarks.ranking_models import open_model
from tests.benchmarks.tables import Findings, Markdown, bar
from tests.security import report, structure
from tests.security.cases import cases
from tests.security.corpus import Attack, attacks
from tests.security.guards import PROMPT_GUARDS
from tests.security.trial import Trial, serving

_MODEL = "demo, the folder of a ranker's version (its weights summarize as well), or none: only what needs no model."


def main(
    model: Annotated[str, typer.Option(help=_MODEL)] = "demo",
    users: Annotated[int, typer.Option(help="Users that each attack is tried on.", min=2)] = 8,
    rivals: Annotated[int, typer.Option(help="Candidates beside the attacker's item.", min=1)] = 20,
    only: Annotated[str, typer.Option(help="Only attacks with this in their names, beside the controls.")] = "",
    markdown: Markdown = None,
) -> None:
    """Try the corpus on a model, with and without each guard."""
    found = Findings("Prompt injection", markdown, "not used")
    if model == "none":
        found.say("Attacks that leave more than words in the built-in prompts: markup, lines, invisible characters.")
        found.table(structure.COLUMNS_OF_PROMPTS, structure.rows_of_prompts())
        found.say("Attacks on summaries that a model which obeys in everything would carry into the store.")
        found.table(structure.COLUMNS_OF_SUMMARIES, structure.rows_of_summaries())
    else:
        corpus = [attack for attack in attacks() if attack.control or only in attack.name]
        try_on(model, corpus, users, rivals, found)
    found.save()


def try_on(model: str, corpus: Sequence[Attack], users: int, rivals: int, found: Findings) -> None:
    """The corpus on a real vLLM."""
    with tempfile.TemporaryDirectory(prefix="injection-") as name, bar() as progress:
        folder = Path(name)
        ranked = open_model(model, folder)
        pictures = reads_pictures(ranked.weights)
        people = cases(users, rivals, pictures=pictures, opening=ranked.manifest.serving.summary_opening)
        with serving(ranked, folder, progress) as servers:
            trial = Trial(servers, people, corpus, folder)
            guards = [guard for guard in PROMPT_GUARDS if trial.matters(guard)]
            task = progress.add_task("attacking", total=2 + len(guards))
            outcomes = trial.with_all_guards()
            progress.advance(task)
            for guard in guards:
                outcomes.append(trial.without(guard))
                progress.advance(task)
            none = trial.without_any()
    reaching = [attack for attack in trial.corpus if not attack.control]
    controls = len(trial.corpus) - len(reaching)
    idle = ", ".join(guard.name for guard in PROMPT_GUARDS if guard not in guards)
    found.say(
        f"{ranked}; {users} users, {1 + rivals} candidates each; {len(reaching)} attacks and {controls} controls "
        f"reach a prompt of this model{'' if pictures else ', which reads no pictures'}."
        + (f" Guards that change none of its prompts: {idle}." if idle else "")
    )
    found.table(report.TOTALS, report.total_rows(outcomes[0], none))
    found.table(report.GUARDS, report.guard_rows(outcomes[0], outcomes[1:]))
    found.table(("kind", *report.GROUPS[1:]), report.group_rows(outcomes[0], none, report.kinds, report.KINDS))
    found.table(("field", *report.GROUPS[1:]), report.group_rows(outcomes[0], none, report.fields, report.FIELDS))
    found.table(report.BEST_OF, report.best_rows(outcomes[0]))


def reads_pictures(weights: Path) -> bool:
    """Whether a checkpoint has an encoder for pictures."""
    return "vision_config" in json.loads((weights / "config.json").read_text())


if __name__ == "__main__":
    run(main)
