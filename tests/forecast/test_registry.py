"""Models by the names that policies use."""

import pytest

from controller.api.policy import ForecastModel, ModelType
from controller.forecast.lasso import Lasso
from controller.forecast.last_value import LastValue
from controller.forecast.model import Model
from controller.forecast.ols import OLS
from controller.forecast.registry import KINDS, model
from controller.forecast.ridge import Ridge
from controller.forecast.wls import WLS


@pytest.mark.parametrize(
    ("made", "meant"),
    [
        (model("WLS", decision_points=6, half_life_seconds=30), WLS(decision_points=6, half_life_seconds=30)),
        (model("OLS", decision_points=6), OLS(decision_points=6)),
        (model("Ridge", penalty_points=2), Ridge(penalty_points=2)),
        (model("Lasso", penalty_percent=10), Lasso(penalty_percent=10)),
        (model("LastValue"), LastValue()),
    ],
)
def test_a_kind_and_its_parameters_make_a_model(made: Model, meant: Model) -> None:
    assert made == meant


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_that_are_not_given_are_those_of_a_policy_that_gives_none(kind: ModelType) -> None:
    assert model(kind) == model(kind, **ForecastModel(type=kind).chosen.model_dump())


def test_equal_parameters_make_equal_models_so_that_they_can_be_told_apart() -> None:
    assert len({model(kind) for kind in KINDS} | {model("WLS"), model("WLS", half_life_seconds=60.0)}) == len(KINDS)


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'ARIMA' does not exist; use one of WLS, OLS, Ridge, Lasso"):
        model("ARIMA")


def test_an_unknown_parameter_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="model WLS: no parameter 'penalty'; use decision_points, half_life_seconds"):
        model("WLS", penalty=3)


def test_of_several_unknown_parameters_the_first_is_named() -> None:
    with pytest.raises(ValueError, match="model WLS: no parameter 'alpha'"):
        model("WLS", penalty=3, alpha=1)
