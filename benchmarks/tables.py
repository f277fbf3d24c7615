"""Draws the tables of README.md from the files in results/.

    python -m benchmarks.tables

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; what is between them
is replaced. A test sees that what is committed is what this would write.
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"

# What the Keras project reports of its own networks: (train, test) accuracy.
REFERENCE = {
    "cnn": (0.8861, 0.8083),
    "resnet": (0.9583, 0.8667),
    "resnet_pretrained": (0.9500, 0.9500),
}
REFERENCE_EPOCHS = {"cnn": 100, "resnet": 10}


def main() -> None:
    readme = ROOT / "README.md"
    readme.write_text(redraw(readme.read_text()))


def redraw(text: str) -> str:
    """`text` with every table drawn anew."""
    return re.sub(
        r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)",
        lambda match: match[1] + TABLES[match[2]]() + match[3],
        text,
        flags=re.DOTALL,
    )


def accuracy() -> str:
    """Accuracy of every recipe over its seeds, beside the reference's."""
    rows = json.loads((RESULTS / "accuracy.json").read_text())
    lines = [
        "| recipe | epochs | n | train | test, 120 | test, 108 leak-free |",
        "|---|---|---|---|---|---|",
    ]
    for network, (train, test) in REFERENCE.items():
        lines.append(
            f"| {network}, the Keras reference | {REFERENCE_EPOCHS.get(network, '')} "
            f"| 1 | {train:.4f} | {test:.4f} | |"
        )
        of_network = [row for row in rows if row["config"].startswith(f"{network}.py")]
        recipes = dict.fromkeys((r["config"], *r["overrides"]) for r in of_network)
        for recipe in sorted(
            recipes, key=lambda recipe: (":" not in recipe[0], recipe)
        ):
            runs = [r for r in of_network if (r["config"], *r["overrides"]) == recipe]
            lines.append(_accuracy_line(recipe, runs))
    first = rows[0]
    versions = first["versions"]
    note = (
        f"n seeds, mean ± standard deviation. {first['processor']}, {first['cores']} "
        f"cores, Python {versions['python']}, jax {versions['jax']}, flax "
        f"{versions['flax']}. Rows: `benchmarks/results/accuracy.json`, each by "
        "`python -m benchmarks.accuracy`, run in several clones at once and the files "
        "joined. The reference's figures are those its project reports."
    )
    return "\n".join(lines) + f"\n\n{note}\n"


def _accuracy_line(recipe: tuple[str, ...], runs: Sequence[dict[str, Any]]) -> str:
    columns = [
        _spread([run[key] for run in runs])
        for key in ("train_accuracy", "test_accuracy", "leak_free_test_accuracy")
    ]
    return (
        f"| `configs/{' '.join(recipe)}` | {runs[0]['epochs']} | {len(runs)} | "
        f"{' | '.join(columns)} |"
    )


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{mean(values):.4f} ± {stdev(values):.4f}"


TABLES: dict[str, Callable[[], str]] = {"accuracy": accuracy}

if __name__ == "__main__":
    main()
