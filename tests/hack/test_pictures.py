"""`./hack/pictures` runs, and what its pictures show is the engine's doing."""

import numpy as np
import pytest
from click.testing import CliRunner

from controller import planner
from controller.api.documents import load
from controller.engine.reasons import Reason
from controller.replay.ballast import Ballast
from controller.replay.run import replay
from drawing import filling, life
from drawing.__main__ import main

PNG = b"\x89PNG\r\n\x1a\n"


def test_the_command_draws_both(tmp_path):
    result = CliRunner().invoke(main, ["--to", str(tmp_path)], catch_exceptions=False)
    assert (result.exit_code, result.output) == (0, "")
    assert {path.name: path.read_bytes()[: len(PNG)] for path in tmp_path.iterdir()} == {
        "filling.png": PNG,
        "life.png": PNG,
    }


@pytest.fixture(scope="module")
def lived() -> life.Life:
    return life.live()


class TestLife:
    def test_it_is_what_the_engine_does_unwatched(self, lived):
        (policy,) = load(life.POLICY, "picture").policies
        unwatched = replay(lived.trace, Ballast(policy), life.HOST_MIB)
        assert unwatched.figures == lived.result.figures

    def test_the_moves_drawn_are_those_of_the_balloon(self, lived):
        assert [move.after for move in lived.diary.moves] == lived.result.record.allocations[0][1:].tolist()

    def test_it_shows_what_the_page_tells(self, lived):
        rest, ramp, step, fall = [[move.reason for move in moves] for moves in lived.moves_by_phase()]
        assert rest == [Reason.FORECAST_SHRINK]
        assert len(ramp) > 3
        assert {*ramp} == {Reason.FORECAST_GROW}
        assert step[0] == Reason.PRESSURE_GROW
        assert {*step[1:]} <= {Reason.FORECAST_GROW}
        assert {*fall} == {Reason.FORECAST_SHRINK}

    def test_every_move_is_beyond_the_dead_band(self, lived):
        for move in lived.diary.moves:
            assert abs(move.after - move.before) >= 0.1 * move.before - 1


class TestFilling:
    @pytest.mark.parametrize("one", filling.filled(), ids=lambda one: f"{one.budget} MiB")
    def test_levels_are_filled_one_after_the_other_by_weight(self, one):
        levels = [np.array([getattr(guest, level) for guest in filling.GUESTS]) for level in ("upper", "wanted")]
        weights = np.array([float(guest.weight) for guest in filling.GUESTS])
        assert one.needed == pytest.approx(planner.fill([one.least, *levels], weights, one.budget))
        assert one.fair.sum() <= one.budget + 1

    def test_one_budget_ends_in_each_level_and_one_is_more_than_all_want(self):
        short, enough, ample = filling.filled()
        upper, wanted = (np.array([getattr(guest, level) for guest in filling.GUESTS]) for level in ("upper", "wanted"))
        assert (short.needed < upper).all()
        assert ((enough.needed > upper) & (enough.needed < wanted)).all()
        assert (ample.needed == wanted).all()
        assert (ample.fair > wanted).all()
