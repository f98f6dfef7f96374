"""How figures of the docs look."""

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "valueattr",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 10,
}
