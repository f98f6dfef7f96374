"""What the page of each experiment holds besides what every page does."""

from valueattr.plan import Plan, PlanError
from valueattr.report._drawing import View
from valueattr.report.pages import attribution, hedging, retention

VIEWS: dict[str, View] = {"e1": retention.VIEW, "e2": hedging.VIEW, "e3": attribution.VIEW}

__all__ = ["VIEWS", "view_of"]


def view_of(plan: Plan) -> View:
    """What the page of a plan's experiment holds.

    Raises:
        PlanError: there is no page for such an experiment.
    """
    if plan.experiment not in VIEWS:
        raise PlanError(f"experiment: there is no page for {plan.experiment!r}; known: {', '.join(VIEWS)}")
    return VIEWS[plan.experiment]
