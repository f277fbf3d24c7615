"""Trains every recipe over its seeds on SIGNS and records what each run reached.

    SIGNJAX_DATA=folder-of-the-h5-files python benchmarks/accuracy.py

`--only=resnet.py` runs the recipes of one config file, `--weights=FILE` is where the
ImageNet weights of resnet_pretrained.py are (else they are downloaded). Each run is
the real command line in a fresh process, so its wall time counts imports, compilation,
training, evaluation and saving. Called again, it goes on with the runs that have no row
yet; no row is ever dropped or run twice. Rows go to results/accuracy.json, from which
tables.py draws the README's table.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "accuracy.json"
RECALIBRATED = "--config.train.recalibrate_batch_norm=True"
# (config, overrides, seeds)
RECIPES: list[tuple[str, tuple[str, ...], range]] = [
    ("resnet.py", (), range(3)),
    ("resnet.py:seed", (), range(3)),
    ("resnet.py:seed", (RECALIBRATED,), range(3)),
    ("resnet_pretrained.py", (), range(3)),
    ("cnn.py", (), range(5)),
    ("cnn.py:seed", (), range(5)),
]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="a config file, as resnet.py:seed")
    parser.add_argument("--weights", type=Path, help="of resnet_pretrained.py")
    arguments = parser.parse_args()
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    done = {(row["config"], tuple(row["overrides"]), row["seed"]) for row in rows}
    for config, overrides, seeds in RECIPES:
        for seed in seeds:
            if (config, overrides, seed) in done:
                continue
            if arguments.only not in ("", config):
                continue
            rows.append(train(config, overrides, seed, arguments.weights))
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
            row = rows[-1]
            print(
                *(config, *overrides, "seed", f"{seed}:"),
                f"train {row['train_accuracy']:.4f}, "
                f"test {row['test_accuracy']:.4f}, {row['wall_seconds']:.0f} s",
                flush=True,
            )


def train(
    config: str, overrides: tuple[str, ...], seed: int, weights: Path | None
) -> dict[str, Any]:
    """The row of one run; raises CalledProcessError if it fails."""
    if not config.startswith("resnet_pretrained"):
        weights = None
    with tempfile.TemporaryDirectory() as workdir:
        started = time.perf_counter()
        command = [
            sys.executable,
            "main.py",
            f"--config=configs/{config}",
            f"--config.seed={seed}",
            *overrides,
            *([f"--config.model.weights={weights}"] if weights else []),
            "--config.data.source=signs",
            f"--workdir={workdir}",
        ]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        wall_seconds = time.perf_counter() - started
        result = json.loads((Path(workdir) / "result.json").read_text())
        stored = json.loads((Path(workdir) / "run.json").read_text())
    return {
        "config": config,
        "overrides": list(overrides),
        "seed": seed,
        "epochs": stored["config"]["train"]["epochs"],
        "train_accuracy": result["train"]["accuracy"],
        "test_accuracy": result["test"]["accuracy"],
        "test_interval95": result["test"]["interval95"],
        "leak_free_test_accuracy": result["test"]["leak_free"]["accuracy"],
        "train_loss": result["train"]["loss"],
        "test_loss": result["test"]["loss"],
        "train_seconds": round(result["train_seconds"], 1),
        "wall_seconds": round(wall_seconds, 1),
        "data_sha256": result["data"]["sha256"],
        "weights_sha256": sha256(weights) if weights else None,
        "device": result["device"],
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": result["versions"],
        "git_commit": git_commit(),
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def sha256(path: Path) -> str:
    """The digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def processor() -> str:
    """The CPU's name, where Linux tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def git_commit() -> str:
    """The commit measured, with `+` where the tree differs from it."""
    head = ["git", "rev-parse", "--short", "HEAD"]
    changed = ["git", "status", "--porcelain", "--", "signjax", "configs", "main.py"]
    commit, changes = (
        subprocess.run(args, cwd=ROOT, check=True, capture_output=True, text=True)
        for args in (head, changed)
    )
    return commit.stdout.strip() + ("+" if changes.stdout else "")


if __name__ == "__main__":
    main()
