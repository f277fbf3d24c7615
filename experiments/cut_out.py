"""Asks the recogniser in the box about photographs, with and without a hand finder.

    python -m experiments.cut_out --scenes=FOLDER --photographs=FOLDER --weights=FOLDER

`--scenes`: photographs of people in rooms, a folder a digit; development looked at them
to choose the size of a hand's box. `--photographs`: those of photographs.py, without a
hand. `--weights`: the hand networks, which are downloaded else. Rows go to
results/cut_out.json; the model card of the recogniser shows them.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from experiments import recogniser, recogniser_card
from experiments.rows import sha256
from experiments.runs import predicted
from signjax.runtime.machine import provenance
from signjax.runtime.packed import FILE as PACKED
from signjax.workdir import RECOGNISER, versions


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--weights", default="mediapipe-hands")
    options = parser.parse_args()
    rows = [
        {"looked_at": name, **asked(options.scenes, options.photographs, *flags)}
        for name, flags in (
            ("the middle", ()),
            ("the hand that is found", (f"--weights={options.weights}",)),
        )
    ]
    common = {"versions": versions(), **provenance()}
    common |= {"model_sha256": sha256(RECOGNISER / PACKED)}
    result = json.dumps({"rows": rows, **common}, indent=1)
    recogniser_card.FOUND.write_text(result + "\n")
    recogniser_card.PAGE.write_text(recogniser_card.page(recogniser.read()))


def asked(scenes: Path, photographs: Path, *flags: str) -> dict[str, Any]:
    """What it answers. Of several hands in a scene the surest found counts."""
    first: dict[str, dict[str, Any]] = {}
    for answer in predicted(RECOGNISER, scenes, *flags):
        first.setdefault(answer["path"], answer)
    digits = {path: Path(path).parent.name for path in first}
    given = [x for x in first.values() if x["label"] is not None]
    others: dict[str, bool] = {}
    for answer in predicted(RECOGNISER, photographs, *flags):
        unsure = answer["label"] is None
        others[answer["path"]] = others.get(answer["path"], True) and unsure
    return {
        "scenes_count": len(first),
        "scenes_found": sum(x.get("box") is not None for x in first.values()),
        "scenes_likeliest": sum(
            x["likeliest"] == digits[path] for path, x in first.items()
        ),
        "scenes_answered": len(given),
        "scenes_right": sum(x["label"] == digits[x["path"]] for x in given),
        "no_hand_count": len(others),
        "no_hand_unsure": sum(others.values()),
    }


if __name__ == "__main__":
    main()
