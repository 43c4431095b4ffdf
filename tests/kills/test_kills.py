"""A killed run goes on as if nothing had happened: mining, every method, the scripts; byte for byte, at any moment.

$MINEGAN_KILLS says how many kills there are in all (200), $MINEGAN_KILLS_SEED which (0): a failure prints both.
"""

import math
import os

import pytest

from tests.kills import harness
from tests.kills.doors import DOORS

KILLS, SEED = int(os.environ.get("MINEGAN_KILLS", 200)), int(os.environ.get("MINEGAN_KILLS_SEED", 0))
EACH = math.ceil(KILLS / len(DOORS))


@pytest.mark.parametrize("door", DOORS)
def test_a_killed_run_goes_on_to_the_same_bytes(runner, door):
    print(harness.random_kills(runner, door, EACH, SEED))


@pytest.mark.parametrize(
    "door", ["mine embedded", "mine watched", "adapt minegan", "prepare_images", "get_weights", "train_zoo"]
)
def test_no_moment_of_saving_is_dangerous(runner, door):
    print(harness.kills_at_writes(runner, door, EACH, SEED))
