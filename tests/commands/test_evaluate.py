"""--mode=evaluate on other data than the model's own."""

import json

from signjax.commands.cli import Options, run
from signjax.evaluation import plots
from signjax.workdir import RECOGNISER
from tests.conftest import ROOT


def test_photographs_in_folders_of_people_and_in_a_bucket(
    bucket, tmp_path, shared_cache
):
    photos, output = bucket / "photos", tmp_path / "scores.json"
    hand = (ROOT / "docs" / "hand.jpg").read_bytes()
    (photos / "3" / "anna" / "1.jpg").write_bytes(hand)
    flags = {"workdir": str(RECOGNISER), "data": str(photos), "output": str(output)}
    run(Options("evaluate", **flags))
    scores = json.loads(output.read_text())
    assert (scores["count"], scores["accuracy"]) == (1, 1)
    if plots.available():
        page = (tmp_path / "report_scores.html").read_text()
        assert "1 images (all 1)" in page  # of its audit
