from hypothesis import given
from hypothesis import strategies as st

from drift_wm.acting.evaluate import training_seed
from drift_wm.random_streams import decision_rng
from drift_wm.run_settings import LARGEST_SEED
from drift_wm.settings import EVALUATION_SEED


@given(st.integers(0, LARGEST_SEED), st.integers(0, 999_999))
def test_training_never_meets_an_evaluation_seed(seed, episode):
    assert 0 <= training_seed(seed, episode) < EVALUATION_SEED < 2**32 - 1000


def test_runs_share_no_episodes_beyond_a_thousand():
    runs = [{training_seed(seed, episode) for episode in range(1500)} for seed in (0, 1, 2, 3)]
    assert len(set().union(*runs)) == 4 * 1500
    assert training_seed(2, 7) == 2007


def test_any_integer_is_a_seed_of_decisions():
    for seed in (0, -1, 2**40, 1_764_380_000 * 10**9, 2**64):
        assert (
            decision_rng(seed, 3).initial_seed()
            == decision_rng(seed, 3).initial_seed()
            != decision_rng(seed, 4).initial_seed()
        )
    assert decision_rng(5, 3).initial_seed() == 5 * 1_000_003 + 3
