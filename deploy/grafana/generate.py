"""Writes the dashboards that Grafana loads, `dashboards/*.json`.

python -m deploy.grafana.generate
"""

import json
import sys
from pathlib import Path

from deploy.grafana.catalogue_pictures import CATALOGUE_PICTURES
from deploy.grafana.freshness_workers import FRESHNESS_WORKERS
from deploy.grafana.inference import INFERENCE
from deploy.grafana.model_quality import MODEL_QUALITY
from deploy.grafana.overview import OVERVIEW

DASHBOARDS = Path(__file__).parent / "dashboards"
BOARDS = (OVERVIEW, FRESHNESS_WORKERS, INFERENCE, CATALOGUE_PICTURES, MODEL_QUALITY)


def files() -> dict[str, str]:
    """The text of each file by its name."""
    return {f"{board.name}.json": json.dumps(board.json, indent=2) + "\n" for board in BOARDS}


def main() -> None:
    """Write the files."""
    for name, text in files().items():
        (DASHBOARDS / name).write_text(text, "utf-8")
        sys.stdout.write(f"deploy/grafana/dashboards/{name}\n")


if __name__ == "__main__":
    main()
