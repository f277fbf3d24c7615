"""Writes docs/results.md from the committed result files; prints other pages' tables.

    python -m experiments.tables

A test sees that what is committed is what this would write.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from statistics import mean, median, stdev
from typing import Any

import numpy as np

from experiments import ablation as ablations
from experiments import accuracy as accuracies
from experiments import calibration as calibrations
from experiments import digits, hands, hands_table, topologies
from experiments.exports import exports
from experiments.markdown import Rows, measured_on, table
from signjax.data.leaks import SIGNS_TEST_LEAKS
from signjax.evaluation.calibration import LEAST_CONFIDENCE, with_least_confidence
from signjax.evaluation.metrics import calibration_error
from signjax.runtime.machine import ROOT

PAGE, README = ROOT / "docs" / "results.md", ROOT / "README.md"
SCALING = ROOT / "docs" / "scaling.md"
SPEED, STARTUP, PROMISES = (
    ROOT / "benchmarks" / "results" / f"{name}.json"
    for name in ("speed", "startup", "promises")
)
# What the Keras project reports of its own networks: epochs, train and test accuracy.
REFERENCE = {
    "cnn": (100, 0.8861, 0.8083),
    "resnet": (10, 0.9583, 0.8667),
    "resnet_pretrained": ("", 0.9500, 0.9500),
}
TESTS = ("test_accuracy", "leak_free_test_accuracy", "unseen_signers_accuracy")
WORKS = ("train", "fit", "inference")
# A share of the cores that others took, above which a pair is not to be trusted.
DISTURBED = 0.05
KERAS = "Keras on TensorFlow"
# README's rows of speed: (work, batch size, baseline) -> their names there.
README_SPEED = {
    ("train", 32, "torch-compile"): ("ResNet train step, batch 32", "torch.compile"),
    ("train", 32, "keras-tensorflow"): ("ResNet train step, batch 32", KERAS),
    ("fit", 64, "keras-tensorflow"): ("CNN, 100 epochs, whole process", KERAS),
    ("inference", 1, "onnxruntime"): ("ResNet inference, batch 1", "ONNX Runtime"),
}


def main() -> None:
    PAGE.write_text(page())
    for make in (*README_TABLES, *SCALING_TABLES):
        print(f"{make()}\n")


def page() -> str:
    """All of docs/results.md."""
    sections = [f"## {title}\n\n{make()}" for title, make in SECTIONS.items()]
    introduction = (
        "# Results\n\nEvery figure below is of a committed result file; "
        "`python -m experiments.tables` writes this page from them.\n"
    )
    return "\n".join([introduction, *sections])


def accuracy() -> str:
    """Accuracy of every recipe over its seeds, beside the reference's."""
    rows, lines = accuracies.read(), []
    for network, (epochs, train, test) in REFERENCE.items():
        scores = (f"{train:.4f}", f"{test:.4f}", "", "")
        lines.append((f"{network}, the Keras reference", epochs, 1, *scores))
        of_network = [row for row in rows if row["config"].startswith(f"{network}.py")]
        recipes = {(row["config"], *row["overrides"]) for row in of_network}
        for recipe in sorted(
            recipes, key=lambda recipe: (":" not in recipe[0], recipe)
        ):
            runs = [r for r in of_network if (r["config"], *r["overrides"]) == recipe]
            scores = [_spread(runs, key) for key in ("train_accuracy", *TESTS)]
            name = f"`configs/{' '.join(recipe)}`"
            lines.append((name, runs[0]["epochs"], len(runs), *scores))
    counts = [row.get("unseen_signers_count") for row in rows]
    counts = sorted({count for count in counts if count})
    return table(
        "recipe | epochs | n | train | test, 120 | test, 108 leak-free "
        "| unseen signers",
        lines,
        f"n seeds, mean ± standard deviation. {measured_on(rows)}. Unseen signers: "
        f"{' or '.join(map(str, counts))} pictures of the Ankara digits 0 to "
        "5, of people whom no development run saw. The reference's figures are those "
        "its project reports. `experiments/results/accuracy.json`, by "
        "`python -m experiments.accuracy`, run in several clones.",
    )


def calibration() -> str:
    """How far the ResNets' confidence holds, over all seeds' predictions together."""
    rows, lines = calibrations.read(), []
    for run in rows:  # some are older than the least confidence
        run["threshold"] = with_least_confidence(run["threshold"])
    for config in dict.fromkeys(row["config"] for row in rows):
        runs = [row for row in rows if row["config"] == config]
        for words, name, left_out in (
            ("SIGNS test", "signs", ()),
            ("SIGNS test, leak-free", "signs", SIGNS_TEST_LEAKS),
            ("unseen signers", "unseen_signers", ()),
        ):
            about = (f"`configs/{config}`", runs[0]["epochs"], len(runs), words)
            lines.append((*about, *_selective(runs, name, left_out)))
    held_out = sorted(row["held_out_count"] for row in rows)
    return table(
        "recipe | epochs | n | scored on | accuracy | ECE | coverage "
        "| selective accuracy",
        lines,
        "Of the predictions of n seeds together. The temperature and the threshold of "
        f"each were fitted to {held_out[0]} to {held_out[-1]} training images held out "
        f"from it; the threshold is {LEAST_CONFIDENCE} at least. ECE: expected "
        "calibration error, 10 bins of equal mass. Selective "
        f"accuracy: of the images not abstained from. {measured_on(rows)}. "
        "`experiments/results/calibration.json`, by "
        "`python -m experiments.calibration`.",
    )


def ten_digits() -> str:
    """What configs/digits.py reaches on all that it is scored on."""
    rows = digits.read()
    n, photographs = len(rows), rows[0]["no_hand_count"]
    abstained = mean(row["no_hand_unsure"] / row["no_hand_count"] for row in rows)
    people = sum(len(row["ankara"]["labels"]) for row in rows)
    leak_free = _selective(rows, "signs", SIGNS_TEST_LEAKS)
    unseen = f"Ankara, 0 to 9, unseen signers, {people}"
    without = f"photographs without a hand, {n} x {photographs}"
    lines = [
        (f"SIGNS test, {n} x 120", *_selective(rows, "signs")),
        (f"SIGNS test, leak-free, {n} x 108", *leak_free),
        (unseen, *_selective(rows, "ankara")),
        (without, "", "", f"{1 - abstained:.4f}", ""),
    ]
    return table(
        "scored on | accuracy | ECE | coverage | selective accuracy",
        lines,
        f"Of the predictions of {n} seeds together, {rows[0]['epochs']} epochs each; "
        "every seed tests its own third of the Ankara people held out. "
        f"{measured_on(rows)}. `experiments/results/digits.json`, by "
        "`python -m experiments.digits`.",
    )


def ablation() -> str:
    """What each choice of a recipe is worth on development data."""
    rows = ablations.read()
    listed = [(c, name) for c, of in ablations.ABLATIONS.items() for name, _ in of]
    rows.sort(key=lambda row: listed.index((row["config"], row["changed"])))
    lines = [
        (
            f"`configs/{row['config']}`",
            *(row["changed"], row["epochs"], row["held_out_count"]),
            f"{row['validation_accuracy']:.3f}",
            f"{row['validation_loss']:.3f}",
            f"{row['unseen_signers_accuracy']:.3f}",
        )
        for row in rows
    ]
    return table(
        "recipe | changed | epochs | held out | their accuracy | their loss "
        "| unseen signers",
        lines,
        "One run each, seed 0, trained on 85% of the SIGNS training images and scored "
        "on the others, and on development signers of the Ankara digits 0 to 5. "
        f"{measured_on(rows)}. `experiments/results/ablation.json`, by "
        "`python -m experiments.ablation`, whose list says what each name changes.",
    )


def speed() -> str:
    """How long every baseline takes for the same work as signjax."""
    rows = json.loads(SPEED.read_text())
    rows.sort(key=lambda row: (WORKS.index(row["work"]), row["batch_size"]))
    disturbed = [
        f"{row['work']}, batch {row['batch_size']}, {row['baseline']}"
        for row in rows
        for pair in row["pairs"]
        if max(pair[side]["others_cpu"] for side in ("signjax", "baseline")) > DISTURBED
    ]
    return table(
        "work | processor | baseline | its time | signjax's | baseline / signjax "
        "| pairs | memory, GB",
        map(_speed_line, rows),
        "Median over the pairs (min to max): more than 1 means that signjax is "
        "faster. Memory: the process's largest, baseline and signjax. Other programs "
        f"took more than {DISTURBED:.0%} of the cores in a pair of: "
        f"{'; '.join(disturbed) or 'none'}. {measured_on(rows)}, float32. "
        "`benchmarks/results/speed.json`, by `python -m benchmarks.speed`; "
        "`benchmarks/README.md` has the commands and the baselines' settings.",
    )


def _speed_line(row: Mapping[str, Any]) -> tuple[str, ...]:
    is_fit, ratio = row["work"] == "fit", row["ratio"]
    work = f"{row['work']}, {row['model']}, batch {row['batch_size']}"
    unit = "s" if is_fit else "ms"
    versions = row["pairs"][0]["baseline"]["versions"]
    package, version = list(versions.items())[1]
    memory = (
        ""
        if is_fit
        else " and ".join(
            f"{median(pair[side]['peak_rss_bytes'] for pair in row['pairs']) / 1e9:.2f}"
            for side in ("baseline", "signjax")
        )
    )
    return (
        f"{row['epochs']} epochs of the CNN, whole process" if is_fit else work,
        row["processor"],
        f"{row['baseline']} ({package} {version})",
        *(f"{row['times'][side]:.4g} {unit}" for side in ("baseline", "signjax")),
        f"**{ratio['median']:.2f}** ({ratio['min']:.2f} to {ratio['max']:.2f})",
        str(ratio["n"]),
        memory,
    )


def startup() -> str:
    """Seconds to the first training step by stage, beside another commit's."""
    found = json.loads(STARTUP.read_text())
    groups: dict[tuple[str, str], list[Any]] = {}
    for row in found["rows"]:
        groups.setdefault((row["config"], row["cache"]), []).append(row)
    here, lines = [], []
    for (config, cache), rows in groups.items():
        here = [row["seconds"] for row in rows if "commit" not in row]
        before = [sum(row["seconds"].values()) for row in rows if "commit" in row]
        stages = [median(run[stage] for run in here) for stage in here[0]]
        whole = [sum(run.values()) for run in here]
        parts = sorted(a / b for a, b in zip(whole, before, strict=True))
        ratio = f"{median(parts):.2f} ({parts[0]:.2f} to {parts[-1]:.2f})"
        seconds = (*stages, median(whole), median(before))
        lines.append((f"`{config}`, {cache}", *(f"{x:.1f}" for x in seconds), ratio))
    commit = next(row["commit"] for row in found["rows"] if "commit" in row)
    return table(
        f"programs | {' | '.join(here[0])} | all | all at {commit} | ratio",
        lines,
        "Seconds to the end of the first step. Cold: no program is kept yet; warm: all "
        f"are, by an earlier run. Median of {len(here)} processes each, by turns with "
        f"those of commit {commit}; ratio: smallest to largest pair. "
        f"{_answered(found['answers'])}"
        f"{measured_on([found])}. `benchmarks/results/startup.json`, by "
        "`python -m benchmarks.startup --against=CHECKOUT`.",
    )


def _answered(answers: Mapping[str, Any]) -> str:
    """How long one photograph takes."""
    times = ", ".join(
        f"{median(run[cache] for run in answers['seconds']):.1f} s {cache}"
        for cache in ("cold", "warm")
    )
    return (
        "The whole process of `python main.py --mode=predict docs/hand.jpg`: "
        f"{times} (median of {len(answers['seconds'])}, {measured_on([answers])}, by "
        "`python -m benchmarks.startup --answer`). "
    )


def promises() -> str:
    """What came of bad moments and bad files: a row a promise."""
    rows = json.loads(PROMISES.read_text())
    keys = ("promise", "n", "equal", "refused", "told", "other values")
    lines = [(*(row[key] for key in keys), len(row["faults"])) for row in rows]
    return table(
        "promise | n | equal | refused in one line | told | other values | faults",
        lines,
        "Equal: it ended as if nothing had happened; a run with the same bits in the "
        "last checkpoint's arrays, `metrics.jsonl` and `result.json` without timings. "
        "Told: a record is lost beside a whole model, and a line names it. "
        "Other values: of files without a checksum, which cannot tell. "
        "A fault is a traceback, a second line, something lost or left in part, or a "
        f"wrong answer. {measured_on(rows)}. `benchmarks/results/promises.json`, by "
        "`python -m tests.promises` and, of mutated images and tables, by `python -m "
        "tests.data.fuzz_images`.",
    )


def readme_accuracy() -> str:
    """README's table of results: one line a recipe."""
    lines = []
    for config in ("cnn.py", "resnet.py", "resnet_pretrained.py"):
        runs = [row for row in accuracies.read() if row["config"] == config]
        scores = [_spread(runs, key, 3) for key in TESTS[1:]]
        lines.append((f"`configs/{config}`", *scores, _minutes(runs), len(runs)))
    for study, name in ((digits, "digits"), (hands, "hands")):
        runs = [
            {
                "signs": float(_selective([row], "signs", SIGNS_TEST_LEAKS)[0]),
                "ankara": float(_selective([row], "ankara")[0]),
            }
            for row in study.read()
        ]
        scores = [_spread(runs, key, 3) for key in ("signs", "ankara")]
        words = f"`configs/{name}.py`, digits 0 to 9"
        lines.append((words, *scores, _minutes(study.read()), len(runs)))
    header = "recipe | SIGNS test, leak-free | unseen signers | minutes | n"
    return table(header, lines)


def readme_speed() -> str:
    """README's table of speed: the baselines that most people know."""
    stored = {
        (row["work"], row["batch_size"], row["baseline"]): row
        for row in json.loads(SPEED.read_text())
    }
    lines = []
    for key, (work, baseline) in README_SPEED.items():
        ratio, times = stored[key]["ratio"], stored[key]["times"]
        unit = "s" if key[0] == "fit" else "ms"
        its, own = (f"{times[side]:.3g} {unit}" for side in ("baseline", "signjax"))
        lowest, highest = ratio["min"], ratio["max"]
        spread = f"{ratio['median']:.2f} ({lowest:.2f} to {highest:.2f})"
        lines.append((work, f"{baseline} {its}", own, spread))
    header = "work, 2 cores of Intel Xeon | baseline | signjax | ratio (min to max)"
    return table(header, lines)


def _minutes(runs: Rows) -> str:
    minutes = sorted(round(run["wall_seconds"] / 60) for run in runs)
    return " to ".join(map(str, dict.fromkeys((minutes[0], minutes[-1]))))


def _spread(runs: Rows, key: str, digits: int = 4) -> str:
    values = [run[key] for run in runs if run.get(key) is not None]
    if len(values) < 2:
        return "".join(f"{value:.{digits}f}" for value in values)
    return f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}"


def _selective(
    runs: Rows, name: str, left_out: Sequence[int] = ()
) -> tuple[str, str, str, str]:
    """Accuracy, calibration error, coverage and selective accuracy of all runs.

    left_out: indices of images that do not count.
    """
    labels, probabilities, limits = [], [], []
    for run in runs:
        labels.append(np.delete(run[name]["labels"], left_out))
        probabilities.append(np.delete(run[name]["probabilities"], left_out, axis=0))
        # A run without a threshold never abstains.
        limits.append(np.full(len(labels[-1]), run["threshold"] or 0.0))
    label, probability = np.concatenate(labels), np.concatenate(probabilities)
    right = probability.argmax(axis=-1) == label
    given = probability.max(axis=-1) >= np.concatenate(limits)
    error = calibration_error(probability, label)
    values = (right.mean(), error, given.mean(), right[given].mean())
    accuracy, error, coverage, selective = (f"{value:.4f}" for value in values)
    return accuracy, error, coverage, selective


SECTIONS: dict[str, Callable[[], str]] = {
    "Accuracy on SIGNS": accuracy,
    "Calibration": calibration,
    "Ten digits": ten_digits,
    "Hands anywhere": hands_table.scores,
    "Ablations": ablation,
    "Speed": speed,
    "Start-up": startup,
    "Accelerators, by their compilers": topologies.topology,
    "Exports": exports,
    "Promises": promises,
}
README_TABLES = (readme_accuracy, readme_speed)
SCALING_TABLES = (topologies.collectives, topologies.slices, topologies.estimates)

if __name__ == "__main__":
    main()
