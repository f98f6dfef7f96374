"""What token credit costs: AttributedGRPOTrainer against bare TRL GRPO with a constant-time reward.

Same model, prompts, seeds and settings; the learning rate is so small that both policies stay the start model, and so
both sample the same responses, which is checked before anything is timed. Pairs of runs alternate; the figure is the
ratio of the medians of TRL's own step time, evaluation excluded.

    make bench          # or: OMP_NUM_THREADS=1 .venv/bin/python benches/bench_trainer.py
"""

import statistics
import tempfile
import warnings
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback
from trl import GRPOTrainer

from valueattr.model import Asking
from valueattr.model.start import start_model
from valueattr.questions import IN_RUN, assign_splits
from valueattr.rating import Feedback, GrammarRater
from valueattr.training import AttributedGRPOTrainer, TrainingConfig, grpo_config, prompt_dataset
from valueattr.world import synthesise

ROUNDS = 3
STEPS = 12
WARM_UP = 2
CONFIG = TrainingConfig(
    steps=STEPS, prompts_per_step=16, group_size=8, learning_rate=1e-12, beta=0.02, checkpoint_every=10_000
)


def constant_reward(completions: list[str], **_: object) -> list[float]:
    """The cheapest reward there is."""
    return [0.0] * len(completions)


def run(name: str) -> tuple[list[float], list[str]]:
    """Step times in seconds after the warm-up, and the responses of the last step."""
    world = synthesise()
    folder = start_model(world)
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    splits = {name: asked for name, asked in assign_splits(world.questions, 0, 32).items() if name in IN_RUN}
    count = CONFIG.steps * CONFIG.prompts_per_step
    prompts = prompt_dataset(Asking(), world.prompt_format("zero"), splits, (), count, 0)
    with tempfile.TemporaryDirectory() as output:
        args = grpo_config(CONFIG, Path(output), seed=0)
        if name == "bare TRL":
            trainer = GRPOTrainer(
                model=model,
                reward_funcs=constant_reward,
                args=args,
                train_dataset=prompts,
                processing_class=tokenizer,
            )
        else:
            credit = "span" if name == "span credit" else "response"
            feedback = Feedback(("insensitive framing",), ("penalised",), credit)
            trainer = AttributedGRPOTrainer(
                model, tokenizer, args, prompts, world.questions, GrammarRater(world), feedback
            )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        times = [row["step_time"] for row in trainer.state.log_history if "step_time" in row]
        return [float(t) for t in times[WARM_UP:]], list(trainer._logs["completion"])


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)
    names = ("bare TRL", "scalar credit", "span credit")
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        responses = {}
        for name in names:
            seconds, responses[name] = run(name)
            times[name] += seconds
        assert responses["scalar credit"] == responses["bare TRL"] == responses["span credit"], (
            "different samples"
        )
    bare = statistics.median(times["bare TRL"])
    print(
        f"{'trainer':14} {'median step':>12} {'against bare TRL':>17}   ({ROUNDS} x {STEPS - WARM_UP} steps each)"
    )
    for name in names:
        median = statistics.median(times[name])
        print(f"{name:14} {median:10.3f} s {median / bare:16.2f}x")


if __name__ == "__main__":
    main()
