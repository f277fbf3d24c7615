"""Where the time goes from `python main.py` to the first training step, or answer.

    python -m benchmarks.startup [--config=configs/resnet.py] [--runs=5]
        [--against=CHECKOUT]
    python -m benchmarks.startup --answer [--runs=5]

Each run is a fresh process that does what training does before and in its first step,
once with an empty cache of compiled programs (cold) and then with a filled one (warm).
The images are random: rendering or downloading some is not part of it. CHECKOUT, of
another commit, measures itself by turns with this one. With --answer it is the whole
process of `--mode=predict docs/hand.jpg` in their place. Seconds of each stage go to
results/startup.json, from which experiments/tables.py makes its table.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from signjax.runtime.machine import ROOT, provenance

FILE = Path(__file__).parent / "results" / "startup.json"
CONFIG = "configs/resnet.py"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", default=CONFIG)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--against", type=Path, help="a checkout of another commit")
    parser.add_argument("--answer", action="store_true", help="time predict")
    parser.add_argument("--child", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(stages(arguments.config, arguments.child)))
        return
    config, other = arguments.config, arguments.against
    kept = json.loads(FILE.read_text()) if FILE.exists() else {"rows": []}
    from signjax.workdir import versions

    about = {**provenance(), "versions": versions()}
    if arguments.answer:
        if other or config != CONFIG:
            parser.error("--answer: takes neither --config nor --against")
        answers = [measure_answer() for _ in range(arguments.runs)]
        FILE.write_text(
            json.dumps(kept | {"answers": about | {"seconds": answers}}, indent=1)
            + "\n"
        )
        return
    rows = [row for row in kept["rows"] if row["config"] != config]
    for _ in range(arguments.runs):
        for root in filter(None, (ROOT, other)):
            for cache, seconds in measure(root, config).items():
                row = {"config": config, "cache": cache, "seconds": seconds}
                rows.append(row | ({"commit": commit(other)} if root == other else {}))
    FILE.write_text(json.dumps(kept | about | {"rows": rows}, indent=1) + "\n")


def commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short=7", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout[
        :7
    ]


def measure(root: Path, config: str) -> dict[str, dict[str, float]]:
    """Seconds by stage of a process of that checkout, cold, and of one more, warm."""
    found = {}
    with tempfile.TemporaryDirectory() as cache:
        caches = {"SIGNJAX_CACHE": cache, "JAX_COMPILATION_CACHE_DIR": cache}
        for name in ("cold", "warm"):
            command = [sys.executable, "-m", "benchmarks.startup"]
            done = subprocess.run(
                [*command, f"--config={config}", f"--child={time.time()}"],
                cwd=root,
                env=os.environ | caches,
                check=True,
                capture_output=True,
                text=True,
            )
            found[name] = json.loads(done.stdout)
            print(root.name, name, done.stdout.strip(), flush=True)
    return found


def measure_answer() -> dict[str, float]:
    """Seconds of a process that reads one photograph, cold, and of one more, warm."""
    found = {}
    with tempfile.TemporaryDirectory() as cache:
        caches = {"SIGNJAX_CACHE": cache, "JAX_COMPILATION_CACHE_DIR": cache}
        command = [sys.executable, "main.py", "--mode=predict", "docs/hand.jpg"]
        for name in ("cold", "warm"):
            started = time.time()
            subprocess.run(
                command,
                cwd=ROOT,
                env=os.environ | caches,
                check=True,
                capture_output=True,
            )
            found[name] = round(time.time() - started, 2)
    print("answer", found, flush=True)
    return found


def stages(path: str, started: float) -> dict[str, float]:
    """Seconds of each stage of this process, which began at time `started`."""
    clock, seconds = started, {}

    def stamp(name: str) -> None:
        nonlocal clock
        now = time.time()
        seconds[name] = round(now - clock, 2)
        clock = now

    import importlib.util

    import jax
    import numpy as np

    from signjax.commands import train  # noqa: F401  what --mode=train imports
    from signjax.data.dataset import Dataset
    from signjax.data.load import make_batches
    from signjax.experiment import make_experiment
    from signjax.runtime.cpu import prepare_cpu
    from signjax.runtime.devices import enable_compilation_cache

    enable_compilation_cache()
    stamp("imports")
    spec = importlib.util.spec_from_file_location("config", ROOT / path)
    module: Any = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    config = module.get_config()
    size, count = config.data.image_size, 1080
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, size, size, 3), np.uint8)
    labels = random.integers(0, 6, count).astype(np.int32)
    prepare_cpu()
    experiment = make_experiment(config, 6, count, jax.local_devices())
    dataset = Dataset(images, labels, tuple("012345"))
    batches = make_batches(config, dataset, experiment.mesh)
    batch = next(batches.epoch(0))
    stamp("device and data")
    state, step = jax.block_until_ready(experiment.begin(None, batches.shapes()))
    stamp("programs and initial weights")
    jax.block_until_ready(step(state, *batch, experiment.key))
    stamp("first step")
    return seconds


if __name__ == "__main__":
    main()
