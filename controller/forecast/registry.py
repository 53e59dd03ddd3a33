"""Forecast models by name. A new model is one file with one dataclass, and one line in `KINDS`."""

from collections.abc import Callable
from inspect import signature

from controller.forecast.lasso import Lasso
from controller.forecast.last_value import LastValue
from controller.forecast.model import Model
from controller.forecast.ols import OLS
from controller.forecast.ridge import Ridge
from controller.forecast.wls import WLS

KINDS: dict[str, Callable[..., Model]] = {
    "WLS": WLS,
    "OLS": OLS,
    "Ridge": Ridge,
    "Lasso": Lasso,
    "LastValue": LastValue,
}


def model(kind: str, **parameters: float) -> Model:
    """The model that a policy calls `kind`; parameters not given take the defaults of its dataclass.

    Raises ValueError for a kind or a parameter that does not exist. Ranges are the policy's matter.
    """
    if kind not in KINDS:
        raise ValueError(f"model type: {kind!r} does not exist; use one of {', '.join(KINDS)}")
    known = signature(KINDS[kind]).parameters
    if unknown := sorted(parameters.keys() - known.keys()):
        raise ValueError(f"model {kind}: no parameter {unknown[0]!r}; use {', '.join(known)}")
    return KINDS[kind](**parameters)
