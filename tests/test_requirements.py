"""Refusals of settings say which, what it was and what was expected."""

from dataclasses import dataclass, field

import pytest

from drift_wm.requirements import require, require_at_least, require_entries, require_one_of, require_some_of


@dataclass
class Settings:
    steps: int = 2
    episodes: int = 0
    seeds: list[int] = field(default_factory=list)


@pytest.mark.parametrize(
    ("refuse", "message"),
    [
        (lambda: require(False, "noise", "0", "a number"), "noise='0': expected a number"),
        (lambda: require_at_least(1, Settings(), "steps", "episodes"), "episodes=0: expected an integer of at least 1"),
        (lambda: require_at_least(3, Settings(), "steps", group="train."), "train.steps=2: expected an integer of at"),
        (lambda: require_one_of(("a", "b"), "name", "c"), "name='c': expected one of a, b"),
        (lambda: require_some_of(("a", "b, c"), "parts", ["a", "d"]), "parts=['a', 'd']: expected some of 'a', 'b, c'"),
        (lambda: require_some_of(("a",), "parts", []), "parts=[]: expected some of 'a'"),
        (lambda: require_entries(Settings(), "seeds"), "seeds=[]: expected at least one entry"),
    ],
)
def test_what_does_not_hold_is_refused_by_name(refuse, message):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - compared below, without escapes
        refuse()
    assert str(refused.value).startswith(message)


def test_what_holds_is_accepted():
    require(True, "noise", 0, "a number")
    require_at_least(2, Settings(), "steps")
    require_one_of(("a", "b"), "name", "b")
    require_some_of(("a", "b"), "parts", ["b", "a"])
    require_some_of(("a", "b"), "parts", [], may_be_empty=True)
    require_entries(Settings(seeds=[1]), "seeds")
