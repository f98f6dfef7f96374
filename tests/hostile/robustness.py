"""The tables of docs/robustness.md, which are made of what the suite tries: `python -m tests.hostile.robustness`."""

from pathlib import Path

from tests.hostile.commands import SLOTS, cases, meaning
from tests.hostile.kinds import GROUPS

PAGE = Path(__file__).parents[2] / "docs" / "robustness.md"
MARK = "<!-- What follows is written by `python -m tests.hostile.robustness`. -->\n"


def tables() -> str:
    """The cases of each place, and the kinds of each group, in Markdown."""
    tried = list(cases())
    lines = [
        "| command or reader | place | kinds | cases | in each run | refused | the same | either |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for slot in SLOTS:
        own = [(kind, is_default) for of, kind, is_default in tried if of is slot]
        ends = [meaning(slot, kind).says for kind, _ in own]
        counts = [
            len(own),
            sum(is_default for _, is_default in own),
            *(ends.count(end) for end in ("refused", "the same", "either")),
        ]
        lines.append(
            f"| `{slot.command}` | {slot.place} | {', '.join(slot.groups)} | "
            + " | ".join(map(str, counts))
            + " |"
        )
    default = sum(is_default for _, _, is_default in tried)
    kinds = sum(map(len, GROUPS.values()))
    lines += [
        "",
        f"In all {len(tried):,} cases of {kinds:,} kinds in {len(SLOTS):,} places, {default:,} of them in each run of the tests.",
        "",
        "## The kinds",
        "",
    ]
    for group, members in GROUPS.items():
        lines += [f"**{group}** ({len(members)}): " + "; ".join(kind.name for kind in members) + ".", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    PAGE.write_text(text.partition(MARK)[0] + MARK + "\n" + tables(), "utf-8")
