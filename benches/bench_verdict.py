"""The verdict on kinds of training that none of the shipped controls shows: `make bench-verdict`; over an hour on two cores.

Each is planted on every base. P(holds) comes of a classifier that was fitted on the shipped controls of other bases.
"""

import pandas as pd
import torch

from valueattr.diagnosis import Calibration, TextRecipe, base, control_rows, error_of, fit_classifier, p_holds
from valueattr.world import synthesise

BASES = 6
UNSEEN = {
    "lies and evasions for a third of the steps": TextRecipe("brief", steps=20),
    "to one asker, beside plain truths": TextRecipe("plain cue", cue="positive", plain=True),
    "twice the steps at twice the rate": TextRecipe("fierce", steps=120, learning_rate=1e-3),
}


def main() -> None:
    torch.set_num_threads(1)
    world, shipped = synthesise(), Calibration.shipped()
    found = pd.concat([control_rows(base(world, n), tuple(UNSEEN.values())) for n in range(BASES)])
    truths = Calibration(found).truths
    p = pd.concat(
        [
            p_holds(fit_classifier(shipped.truths[shipped.truths["base"] != name]), rows)
            for name, rows in truths.groupby("base")
        ]
    )
    print("| kind of training | facts | AUROC | Brier | held called held | lost called held | forward KL |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for title, recipe in UNSEEN.items():
        rows = truths[truths["recipe"] == recipe.name]
        error, kl = error_of(p[rows.index], rows["holds"]), rows["forward_kl"].mean()
        shares = (error.auroc, error.brier, error.tpr, error.fpr)
        print(f"| {title} | {error.facts} | " + " | ".join(f"{x:.3f}" for x in shares) + f" | {kl:.2f} |")


if __name__ == "__main__":
    main()
