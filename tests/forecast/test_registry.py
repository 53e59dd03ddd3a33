"""Models by the names that policies use."""

import pytest

from controller.api.policy import ForecastModel, ModelType
from controller.engine.ownership import forecaster
from controller.forecast.lasso import Lasso
from controller.forecast.last_value import LastValue
from controller.forecast.model import Model
from controller.forecast.ols import OLS
from controller.forecast.registry import KINDS
from controller.forecast.ridge import Ridge
from controller.forecast.wls import WLS


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        (
            {"type": "WLS", "wls": {"decisionPoints": 6, "halfLifeLooks": 3}},
            WLS(decision_points=6, half_life_looks=3),
        ),
        ({"type": "OLS", "ols": {"decisionPoints": 6}}, OLS(decision_points=6)),
        ({"type": "Ridge", "ridge": {"penaltyPoints": 2}}, Ridge(penalty_points=2)),
        ({"type": "Lasso", "lasso": {"penaltyPercent": 10}}, Lasso(penalty_percent=10)),
        ({"type": "LastValue"}, LastValue()),
    ],
)
def test_a_kind_and_its_parameters_make_a_model(choice: dict[str, object], meant: Model) -> None:
    assert forecaster(ForecastModel.model_validate(choice)) == meant


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_that_are_not_given_are_those_of_a_policy_that_gives_none(kind: ModelType) -> None:
    assert KINDS[kind]() == forecaster(ForecastModel(type=kind))


def test_equal_parameters_make_equal_models_so_that_they_can_be_told_apart() -> None:
    assert len({kind() for kind in KINDS.values()} | {WLS(), WLS(half_life_looks=1.0)}) == len(KINDS)
