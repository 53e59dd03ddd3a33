"""Whether a decision still stands: its order may have waited for its turn while policies, limits or guests changed."""

from controller.api.policy import MEBIBYTE
from controller.engine.decision import Action
from controller.engine.reasons import Reason
from controller.engine.state import State


def stands(action: Action, state: State) -> bool:
    """Whether an order of an earlier step would not be wrong by what is known now.

    What ends a shrink, or takes it back as the domain is no longer to be changed, stands whatever came after.
    """
    row = state.inventory.index.get(action.key)
    if row is None:
        return False
    if action.reason is Reason.HANDED_OVER or action.target == action.before:
        return True
    if action.reason is Reason.RELEASE_RESTORE:
        return bool(state.inventory.obstacle[row] == int(Reason.NO_POLICY))
    if not state.inventory.enforce[row]:
        return False
    if action.grows:  # it may have become more than the policy, the domain or the pod allows
        return bool(action.target <= state.inventory.ceiling[row] + MEBIBYTE)
    promised = state.inventory.minimum[row] - MEBIBYTE if state.minimums_fit else 0.0
    in_need = state.pressure.pressed[row] or state.growth.short[row]
    return not in_need and bool(action.target >= promised)
