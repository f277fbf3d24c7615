"""Draws the tables of README.md and docs/recipes.md from the files in results/.

    python -m benchmarks.tables

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; what is between them
is replaced. A test sees that what is committed is what this would write.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from statistics import mean, median, stdev
from typing import Any

import numpy as np

from benchmarks import ablation as ablations
from benchmarks import accuracy as accuracies
from benchmarks import calibration as calibrations
from benchmarks import recogniser as recognisers
from benchmarks.rows import RESULTS, ROOT
from signjax.data.leaks import SIGNS_TEST_TWINS
from signjax.evaluation.metrics import calibration_error

# What the Keras project reports of its own networks: (train, test) accuracy.
REFERENCE = {
    "cnn": (0.8861, 0.8083),
    "resnet": (0.9583, 0.8667),
    "resnet_pretrained": (0.9500, 0.9500),
}
# What the rows of accuracy_earlier.json trained, by their commit.
EARLIER = {
    "806161d": "no drawn hands, milder changes",
    "7553ab5": "270 drawn hands",
    "3ebc41b": "no drawn hands or backgrounds, milder changes",
    "b8ce131": "1,080 drawn hands, no mirror images",
    "bd7a8bd": "540 drawn hands",
    "4ed8a48": "no mirror images",
    "ddb05d9": "no perspective",
    "b2a740a": "usual poses of the drawn hands",
    "d10f8f9": "drawn hands to the end, not turned",
    "18cffbf": "96 pixels, drawn hands to the end",
}
# What tables are drawn into.
PAGES = (ROOT / "README.md", ROOT / "docs" / "recipes.md")
TESTS = ("test_accuracy", "leak_free_test_accuracy", "others_accuracy")
WORKS = ("train", "fit", "inference")
# A share of the cores that others took, above which a pair is not to be trusted.
DISTURBED = 0.05
REFERENCE_EPOCHS = {"cnn": 100, "resnet": 10}


def main() -> None:
    drawn = {page: redraw(page.read_text()) for page in PAGES}
    for page, text in drawn.items():
        page.write_text(text)


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
    rows = accuracies.read()
    lines = [
        "| recipe | epochs | n | train | test, 120 | test, 108 leak-free "
        "| other people |",
        "|---|---|---|---|---|---|---|",
    ]
    for network, (train, test) in REFERENCE.items():
        lines.append(
            f"| {network}, the Keras reference | {REFERENCE_EPOCHS.get(network, '')} "
            f"| 1 | {train:.4f} | {test:.4f} | | |"
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
        f"n seeds, mean ± standard deviation. {_measured_on(rows, versions)}, flax "
        f"{versions['flax']}. Rows: `benchmarks/results/accuracy.json`, each by "
        "`python -m benchmarks.accuracy`, run in several clones and the files joined. "
        f"Other people: {_others_count(rows)}, of signers kept out of development "
        "runs. The reference's figures are those its project reports."
    )
    return "\n".join(lines) + f"\n\n{note}\n"


def _measured_on(rows: Sequence[Mapping[str, Any]], versions: Mapping[str, str]) -> str:
    """The processors of a table's rows, and the versions, the same for all of them."""
    processors = " or ".join(dict.fromkeys(row["processor"] for row in rows))
    counts = sorted({row["cores"] for row in rows})
    cores = f"{' or '.join(map(str, counts))} core{'s' * (counts != [1])}"
    return f"{processors}, {cores}, Python {versions['python']}, jax {versions['jax']}"


def _others_count(rows: Sequence[dict[str, Any]]) -> str:
    counts = {row["others_count"] for row in rows if row.get("others_count")}
    return f"{' or '.join(map(str, sorted(counts)))} pictures of the Ankara digits 0-5"


def _accuracy_line(recipe: tuple[str, ...], runs: Sequence[dict[str, Any]]) -> str:
    columns = _spreads(runs, "train_accuracy", *TESTS)
    return (
        f"| `configs/{' '.join(recipe)}` | {runs[0]['epochs']} | {len(runs)} | "
        f"{columns} |"
    )


def _spreads(runs: Sequence[Mapping[str, Any]], *keys: str) -> str:
    return " | ".join(_spread([run.get(key) for run in runs]) for key in keys)


def versions() -> str:
    """What each recipe reached before it changed, and what it reaches now."""
    earlier = json.loads((RESULTS / "accuracy_earlier.json").read_text())
    now = [row for row in accuracies.read() if not row["overrides"]]
    lines = [
        "| recipe | version | epochs | n | test, 120 | test, 108 leak-free "
        "| other people |",
        "|---|---|---|---|---|---|---|",
    ]
    for config in sorted({row["config"] for row in earlier}):
        before = [row for row in earlier if row["config"] == config]
        runs_of = {
            EARLIER[commit]: [row for row in before if row["git_commit"] == commit]
            for commit in dict.fromkeys(row["git_commit"] for row in before)
        }
        runs_of["current"] = [row for row in now if row["config"] == config]
        lines += [
            f"| `configs/{config}` | {words} | {runs[0]['epochs']} | {len(runs)} "
            f"| {_spreads(runs, *TESTS)} |"
            for words, runs in runs_of.items()
        ]
    note = (
        "n seeds, mean ± standard deviation. "
        f"{_measured_on(earlier, earlier[0]['versions'])}. Rows: "
        "`benchmarks/results/accuracy_earlier.json`, by `python -m benchmarks.accuracy`"
        " at the commits they name (4ed8a48 was rewritten to 05eb2cf), and "
        "`accuracy.json`."
    )
    return "\n".join(lines) + f"\n\n{note}\n"


def _spread(values: Sequence[float | None]) -> str:
    values = [value for value in values if value is not None]
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{mean(values):.4f} ± {stdev(values):.4f}"


def speed() -> str:
    """How long every peer takes for the same work as signjax."""
    rows = json.loads((RESULTS / "speed.json").read_text())
    rows.sort(key=lambda row: (WORKS.index(row["work"]), row["batch_size"]))
    lines = [
        "| work | processor | peer | its time | signjax's | peer / signjax | pairs "
        "| memory, GB |",
        "|---|---|---|---|---|---|---|---|",
        *map(_speed_line, rows),
    ]
    first = rows[0]
    ours = first["pairs"][0]["ours"]["versions"]
    disturbed = [
        f"{row['work']}, batch {row['batch_size']}, {row['peer']}"
        for row in rows
        for pair in row["pairs"]
        if max(pair[side]["others_cpu"] for side in ("ours", "peer")) > DISTURBED
    ]
    note = (
        f"Other programs took more than {DISTURBED:.0%} of the cores in a pair of: "
        f"{'; '.join(disturbed) or 'none'}. "
        "Median over the pairs (least to most); memory is the largest of the process, "
        f"peer's and signjax's. {_measured_on(rows, ours)}, float32. Rows: "
        "`benchmarks/results/speed.json`, each by `python -m benchmarks.speed`; "
        "`benchmarks/README.md` has the commands and the peers' settings."
    )
    return "\n".join(lines) + f"\n\n{note}\n"


def _speed_line(row: Mapping[str, Any]) -> str:
    if row["work"] == "fit":
        work, unit = f"{row['epochs']} epochs of the CNN, whole process", "s"
    else:
        work, unit = f"{row['work']}, {row['model']}, batch {row['batch_size']}", "ms"
    peer = row["pairs"][0]["peer"]
    package, version = list(peer["versions"].items())[1]
    ratio = row["ratio"]
    times = [f"{row['times'][side]:.4g} {unit}" for side in ("peer", "ours")]
    memory = [
        f"{median(pair[side]['peak_rss_bytes'] for pair in row['pairs']) / 1e9:.2f}"
        for side in ("peer", "ours")
        if "peak_rss_bytes" in row["pairs"][0][side]
    ]
    return (
        f"| {work} | {row['processor']} | {row['peer']} ({package} {version}) "
        f"| {' | '.join(times)} | "
        f"**{ratio['median']:.2f}** ({ratio['min']:.2f} to {ratio['max']:.2f}) | "
        f"{ratio['n']} | {' and '.join(memory) if len(memory) == 2 else ''} |"
    )


def startup() -> str:
    """Seconds to the first training step by stage, without and with kept programs."""
    found = json.loads((RESULTS / "startup.json").read_text())
    stages = list(found["rows"][0]["seconds"])
    lines = [
        f"| compiled programs | {' | '.join(stages)} | all |",
        "|---|" + "---|" * (len(stages) + 1),
    ]
    for cache, words in (("cold", "none kept yet"), ("warm", "kept by an earlier run")):
        runs = [row["seconds"] for row in found["rows"] if row["cache"] == cache]
        columns = [[run[stage] for run in runs] for stage in stages]
        columns.append([sum(run.values()) for run in runs])
        lines.append(
            f"| {words} | {' | '.join(f'{median(column):.1f}' for column in columns)} |"
        )
    note = (
        f"Seconds, median of {len(found['rows']) // 2} processes each. "
        f"{_measured_on([found], found['versions'])}. "
        "`benchmarks/results/startup.json`, by `python -m benchmarks.startup`."
    )
    return "\n".join(lines) + f"\n\n{note}\n"


def ablation() -> str:
    """What each choice of a recipe is worth on development data."""
    rows = ablations.read()
    listed = [(c, name) for c, of in ablations.ABLATIONS.items() for name, _ in of]
    rows.sort(key=lambda row: listed.index((row["config"], row["changed"])))
    return _ablation_table(rows, "`benchmarks/results/ablation.json`")


def deleted() -> str:
    """What was tried, did not pay on development data and is gone."""
    rows = json.loads((RESULTS / "ablation_earlier.json").read_text())
    commits = " or ".join(dict.fromkeys(row["git_commit"] for row in rows))
    return _ablation_table(
        rows, f"`benchmarks/results/ablation_earlier.json`, at commit {commits}"
    )


def _ablation_table(rows: Sequence[Mapping[str, Any]], source: str) -> str:
    """A line a row. source: where the rows are."""
    lines = [
        "| recipe | changed | epochs | held out | accuracy of them | their loss "
        "| other people |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        others = row["others_accuracy"]
        lines.append(
            f"| `configs/{row['config']}` | {row['changed']} | {row['epochs']} "
            f"| {row['held_out_count']} | {row['validation_accuracy']:.3f} "
            f"| {row['validation_loss']:.3f} "
            f"| {'' if others is None else f'{others:.3f}'} |"
        )
    first = rows[0]
    note = (
        "One run each, seed 0, trained on 85% of the SIGNS training images and scored "
        "on the others, and on development people of the Ankara digits 0-5. "
        f"{_measured_on(rows, first['versions'])}. Rows: {source}, by "
        "`python -m benchmarks.ablation`."
    )
    return "\n".join(lines) + f"\n\n{note}\n"


def calibration() -> str:
    """How far the ResNets' confidence holds, over all seeds' predictions together."""
    rows = calibrations.read()
    lines = [
        "| recipe | epochs | n | scored on | accuracy | ECE | answered "
        "| accuracy of what is answered |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for config in dict.fromkeys(row["config"] for row in rows):
        runs = [row for row in rows if row["config"] == config]
        for words, name, left_out in (
            ("SIGNS test", "signs", ()),
            ("SIGNS test, leak-free", "signs", SIGNS_TEST_TWINS),
            ("other people", "others", ()),
        ):
            lines.append(
                f"| `configs/{config}` | {runs[0]['epochs']} | {len(runs)} | {words} "
                f"| {_calibration_columns(runs, name, left_out)} |"
            )
    held_out = " to ".join(
        str(end([row["held_out_count"] for row in rows])) for end in (min, max)
    )
    note = (
        "Of the predictions of n seeds together. The temperature and the limit of each "
        f"were fitted to {held_out} training images held out from it. ECE: expected "
        "calibration error, 10 bins of equal mass. Answered: the coverage. "
        f"{_measured_on(rows, rows[0]['versions'])}. Rows: "
        "`benchmarks/results/calibration.json`, by `python -m benchmarks.calibration`."
    )
    return "\n".join(lines) + f"\n\n{note}\n"


def _calibration_columns(
    runs: Sequence[Mapping[str, Any]], name: str, left_out: Sequence[int] = ()
) -> str:
    """Accuracy, calibration error, share answered, accuracy of these; of all runs.

    left_out: indices of images that do not count.
    """
    labels, probabilities, limits = [], [], []
    for run in runs:
        labels.append(np.delete(run[name]["labels"], left_out))
        probabilities.append(np.delete(run[name]["probabilities"], left_out, axis=0))
        # A run without a limit answers everything.
        limits.append(np.full(len(labels[-1]), run["threshold"] or 0.0))
    label, probability = np.concatenate(labels), np.concatenate(probabilities)
    right = probability.argmax(axis=-1) == label
    given = probability.max(axis=-1) >= np.concatenate(limits)
    return (
        f"{right.mean():.4f} | {calibration_error(probability, label):.4f} "
        f"| {given.mean():.4f} | {right[given].mean():.4f}"
    )


def recogniser() -> str:
    """What configs/digits.py reaches on all that it is scored on."""
    rows = recognisers.read()
    n = len(rows)
    unsure = [row["no_hand_unsure"] / row["no_hand_count"] for row in rows]
    people = sum(len(row["ankara"]["labels"]) for row in rows)
    leak_free = _calibration_columns(rows, "signs", SIGNS_TEST_TWINS)
    lines = [
        "| scored on | accuracy | ECE | answered | accuracy of what is answered |",
        "|---|---|---|---|---|",
        f"| SIGNS test, {n} x 120 | {_calibration_columns(rows, 'signs')} |",
        f"| SIGNS test, leak-free, {n} x 108 | {leak_free} |",
        f"| Ankara, 0 to 9, people not trained on, {people} "
        f"| {_calibration_columns(rows, 'ankara')} |",
        f"| photographs without a hand, {n} x {rows[0]['no_hand_count']} "
        f"| | | {1 - mean(unsure):.4f} | |",
    ]
    first = rows[0]
    note = (
        f"Of the predictions of {n} seeds together, {first['epochs']} epochs each; "
        "every seed tests its own third of the Ankara people held out. "
        f"{_measured_on(rows, first['versions'])}. Rows: "
        "`benchmarks/results/recogniser.json`, by `python -m benchmarks.recogniser`."
    )
    return "\n".join(lines) + f"\n\n{note}\n"


TABLES: dict[str, Callable[[], str]] = {
    "recogniser": recogniser,
    "accuracy": accuracy,
    "versions": versions,
    "ablation": ablation,
    "deleted": deleted,
    "calibration": calibration,
    "speed": speed,
    "startup": startup,
}

if __name__ == "__main__":
    main()
