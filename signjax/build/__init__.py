"""config -> data, network, optimizer, steps; below it no config is known.

Each has its file here; the layers above import all of it from the package.
"""

from signjax.build.data import draw_extra, hold_out_validation, load_splits
from signjax.build.network import Network, make_network
from signjax.build.ported import (
    ported_config,
    ported_state,
    ported_traits,
    start_from,
)
from signjax.build.recipe import Recipe, given_up, make_optimizer, make_recipe
from signjax.build.run import default_workdir, to_be_stored
from signjax.build.state import abstract_state, make_state
from signjax.build.sweep import swept, vary

__all__ = [
    "Network",
    "Recipe",
    "abstract_state",
    "default_workdir",
    "draw_extra",
    "given_up",
    "hold_out_validation",
    "load_splits",
    "make_network",
    "make_optimizer",
    "make_recipe",
    "make_state",
    "ported_config",
    "ported_state",
    "ported_traits",
    "start_from",
    "swept",
    "to_be_stored",
    "vary",
]
