"""Whatever a model was trained with, its record and card say the licence."""

from signjax.config import KEYS
from signjax.export.card import KINDS
from signjax.export.record import LICENCES


def test_every_source_of_images_has_a_licence() -> None:
    words = KEYS["data.source"].rule.words
    sources = {word.strip("'") for word in words.split(" or ")} - {"auto"}
    assert len(sources) >= 4
    assert LICENCES.keys() == sources | {"ported"}
    assert KINDS.keys() == sources
