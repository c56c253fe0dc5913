from hypothesis import given
from hypothesis import strategies as st

from drift_wm.acting.evaluate import training_seed
from drift_wm.run_settings import LARGEST_SEED
from drift_wm.settings import EVALUATION_SEED


@given(st.integers(0, LARGEST_SEED), st.integers(0, 999_999))
def test_training_never_meets_an_evaluation_seed(seed, episode):
    assert 0 <= training_seed(seed, episode) < EVALUATION_SEED < 2**32 - 1000


def test_runs_share_no_episodes_beyond_a_thousand():
    runs = [{training_seed(seed, episode) for episode in range(1500)} for seed in (0, 1, 2, 3)]
    assert len(set().union(*runs)) == 4 * 1500
    assert training_seed(2, 7) == 2007
