"""`./hack/pictures` runs, and what its pictures show is the engine's doing."""

import numpy as np
import pytest
from click.testing import CliRunner

from controller.api.documents import load
from controller.engine.reasons import Reason
from controller.engine.tuning import Tuning
from controller.replay.ballast import ReplayedBallast
from controller.replay.run import replay
from drawing import filling, life
from drawing.__main__ import main

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.slow
def test_the_command_draws_both(tmp_path):
    result = CliRunner().invoke(main, ["--to", str(tmp_path)], catch_exceptions=False)
    assert (result.exit_code, result.output) == (0, "")
    assert {path.name: path.read_bytes()[: len(PNG)] for path in tmp_path.iterdir()} == {
        "filling.png": PNG,
        "life.png": PNG,
    }


@pytest.fixture(scope="module")
def lived() -> life.GuestLife:
    return life.live()


class TestLife:
    @pytest.mark.slow
    def test_it_is_what_the_engine_does_unwatched(self, lived):
        (policy,) = load(life.POLICY, "picture").policies
        unwatched = replay(lived.trace, ReplayedBallast(policy), life.HOST_MIB)
        assert unwatched.figures == lived.result.figures

    def test_the_moves_drawn_are_those_of_the_balloon(self, lived):
        assert [move.after for move in lived.diary.moves] == lived.result.record.allocations[0][1:].tolist()

    def test_it_shows_what_the_page_tells(self, lived):
        rest, ramp, step, fall = [[move.reason for move in moves] for moves in lived.moves_by_phase()]
        assert rest == [Reason.FORECAST_SHRINK]
        assert len(ramp) > 3
        assert {*ramp} == {Reason.FORECAST_GROW}
        assert step[0] == Reason.FELT_GROW
        assert {*step[1:]} <= {Reason.FORECAST_GROW}
        assert {*fall} == {Reason.FORECAST_SHRINK}

    def test_every_move_is_beyond_the_dead_band(self, lived):
        for move in lived.diary.moves:
            assert abs(move.after - move.before) >= 0.1 * move.before - 1


class TestFilling:
    @staticmethod
    def known(name: str) -> np.ndarray:
        """(3,) of the guests drawn; sizes in MiB."""
        return np.array([float(getattr(each, name)) for each in filling.GUESTS])

    def test_minimums_that_do_not_fit_are_met_in_proportion_above_demand(self):
        short, minimum = filling.filled()[0], self.known("minimum")
        part = (short.budget - short.need.sum()) / (minimum - short.need).sum()
        assert 0 < part < 1
        assert short.size == pytest.approx(short.need + part * (minimum - short.need))

    def test_what_minimums_leave_goes_out_in_proportion_to_reach_and_weight(self):
        minimum, scale = self.known("minimum"), self.known("reach") * self.known("weight")
        for one in filling.filled()[1:]:
            left = one.budget * (1 - Tuning().pool) - minimum.sum()
            assert one.size - minimum == pytest.approx(left * scale / scale.sum())
