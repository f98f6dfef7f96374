"""What the page of each experiment holds besides what every page does."""

from valueattr.report._drawing import View
from valueattr.report.pages import attribution, hedging, retention

VIEWS: dict[str, View] = {"e1": retention.VIEW, "e2": hedging.VIEW, "e3": attribution.VIEW}

__all__ = ["VIEWS"]
