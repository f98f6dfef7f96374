"""A GRPO step of a real chat model with LoRA: ours against TRL as it comes and against a plain loop that does the same.

Each runs in a process of its own, on one pinned core in bfloat16, and is asked for its steps in turns; the seconds are of
that core (CPU time), from the prompts to the optimiser's step, evaluation excluded. The plain loop samples with shared
prompt keys and values, scores answers alone, and does nothing else: no attribution, no logs, no trainer.

    make bench-real-step   # or: taskset -c 0 .venv/bin/python benches/bench_real_step.py MODEL [STEPS]
"""

import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

PROMPTS, GROUP, TOKENS = 8, 8, 24
STEPS = 5
WARM_UP = 1


def settings(steps: int) -> Any:
    from valueattr.training import TrainingConfig

    return TrainingConfig(
        steps=steps,
        prompts_per_step=PROMPTS,
        group_size=GROUP,
        learning_rate=1e-5,
        beta=0.02,
        max_completion_length=TOKENS,
        checkpoint_every=10_000,
        lora_rank=16,
        precision="bfloat16",
    )


def materials(folder: str, steps: int) -> tuple[Any, Any, Any, Any]:
    """World, model, tokenizer, and the same prompts for everyone."""
    from valueattr.model import Asking, load_model, load_tokenizer
    from valueattr.questions import IN_RUN, assign_splits
    from valueattr.training import prompt_dataset
    from valueattr.world import synthesise

    world, tokenizer = synthesise(), load_tokenizer(folder)
    splits = {name: asked for name, asked in assign_splits(world.questions, 0, 32).items() if name in IN_RUN}
    prompts = prompt_dataset(
        Asking.of(tokenizer), world.prompt_format("zero"), splits, (), steps * PROMPTS, 0
    )
    return world, load_model(folder), tokenizer, prompts


def length_reward(completion_ids: list[list[int]], **_: object) -> list[float]:
    return [float(sum(ids) % 7) for ids in completion_ids]


def trainer_of(name: str, folder: str, steps: int, output: str) -> Any:
    from trl import GRPOTrainer

    from valueattr.model import lora_config
    from valueattr.rating import Feedback, GrammarRater
    from valueattr.training import AttributedGRPOTrainer, grpo_config

    world, model, tokenizer, prompts = materials(folder, steps)
    config = settings(steps)
    args = grpo_config(config, Path(output), seed=0)
    args.save_strategy = "no"
    if name == "ours":
        feedback = Feedback(("insensitive framing",), ("penalised",), "span")
        rater = GrammarRater(world)
        return AttributedGRPOTrainer(
            model,
            tokenizer,
            args,
            prompts,
            world.questions,
            rater,
            feedback,
            adapter=lora_config(config.lora_rank),
        )
    return GRPOTrainer(
        model=model,
        reward_funcs=length_reward,
        args=args,
        train_dataset=prompts,
        processing_class=tokenizer,
        peft_config=lora_config(config.lora_rank),
    )


def train(name: str, folder: str, steps: int, turn: Callable[[], None], done: Callable[[int], None]) -> None:
    """A trainer that takes each step when it is its turn."""
    from transformers import PrinterCallback, TrainerCallback

    class Turns(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            turn()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            done(sum(len(ids) for ids in trainer.sampled))

    with tempfile.TemporaryDirectory() as output:
        trainer = trainer_of(name, folder, steps, output)
        generate = trainer._generate_single_turn

        def watched(*arguments: Any, **named: Any) -> Any:
            trainer.sampled, others = generate(*arguments, **named)
            return trainer.sampled, others

        trainer._generate_single_turn = watched
        trainer.add_callback(Turns())
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def plain_loop(folder: str, steps: int, turn: Callable[[], None], done: Callable[[int], None]) -> None:
    """The same step by hand, with peft and transformers alone."""
    import torch
    from peft import get_peft_model

    from valueattr.model import lora_config

    _, model, tokenizer, prompts = materials(folder, steps)
    config = settings(steps)
    torch.manual_seed(0)
    adapted = get_peft_model(model.bfloat16(), lora_config(config.lora_rank))
    policy = adapted.get_base_model()
    trained = [p for p in policy.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=0.0)
    end = tokenizer.eos_token_id

    def read(ids: Any, mask: Any) -> Any:
        """Keys and values of each prompt but its last token, for every answer of its group."""
        cache = policy(
            ids, attention_mask=mask, position_ids=at(mask), use_cache=True, logits_to_keep=1
        ).cache
        cache.batch_repeat_interleave(GROUP)
        return cache

    def at(mask: Any) -> Any:
        return (mask.cumsum(1) - 1).clamp(min=0)

    def answers(ids: Any, mask: Any) -> Any:
        """(rows, TOKENS) of sampled tokens, the end repeated."""
        cache, mask = read(ids[:, :-1], mask[:, :-1]), mask.repeat_interleave(GROUP, 0)
        last = ids[:, -1:].repeat_interleave(GROUP, 0)
        ended, found = torch.zeros(len(last), 1, dtype=torch.bool), []
        for _ in range(TOKENS):
            logits = policy(last, attention_mask=mask, position_ids=at(mask)[:, -1:], cache=cache).logits[
                :, -1
            ]
            last = torch.multinomial(logits.float().softmax(-1), 1).masked_fill(ended, end)
            ended = ended | (last == end)
            found.append(last)
            mask = torch.cat([mask, torch.ones_like(last)], 1)
        return torch.cat(found, 1)

    def log_p(ids: Any, mask: Any, sampled: Any, kept: Any) -> Any:
        cache = read(ids[:, :-1], mask[:, :-1])
        tokens = torch.cat([ids[:, -1:].repeat_interleave(GROUP, 0), sampled[:, :-1]], 1)
        mask = torch.cat([mask.repeat_interleave(GROUP, 0), kept[:, :-1]], 1)
        places = at(mask)[:, -TOKENS:]
        logits = policy(tokens, attention_mask=mask, position_ids=places, cache=cache).logits
        return logits.float().log_softmax(-1).gather(-1, sampled[..., None]).squeeze(-1)

    for step in range(steps):
        turn()
        texts = prompts["prompt"][step * PROMPTS : (step + 1) * PROMPTS]
        encoded = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left")
        ids, mask = encoded["input_ids"], encoded["attention_mask"]
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                sampled = answers(ids, mask)
                kept = ((sampled == end).cumsum(1) - (sampled == end).long() == 0).long()
                with adapted.disable_adapter():
                    reference = log_p(ids, mask, sampled, kept)
            rewards = torch.tensor(length_reward(sampled.tolist())).view(-1, GROUP)
            z = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
            now = log_p(ids, mask, sampled, kept)
            apart = reference - now
            kl = apart.exp() - apart - 1
            gain = (now - now.detach()).exp() * z.view(-1, 1)
            loss = ((config.beta * kl - gain) * kept).sum() / kept.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        done(int(kept.sum()))


def contender(name: str, folder: str, steps: int, pipe: Connection) -> None:
    """Takes a step for each message; answers with its seconds and its sampled tokens, at the end with its peak memory."""
    import torch
    import transformers

    warnings.simplefilter("ignore")
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)
    begun = 0.0

    def turn() -> None:
        nonlocal begun
        pipe.recv()
        begun = time.process_time()

    def done(tokens: int) -> None:
        pipe.send((time.process_time() - begun, tokens))

    if name == "plain loop":
        plain_loop(folder, steps, turn, done)
    else:
        train(name, folder, steps, turn, done)
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2)


def measured(
    names: tuple[str, ...], folder: str, steps: int
) -> dict[str, tuple[list[float], list[int], float]]:
    """Seconds and sampled tokens of each step, taken in turns, and peak memory in GiB."""
    context = multiprocessing.get_context("spawn")
    pipes, found = {}, {name: ([], [], 0.0) for name in names}
    for name in names:
        pipes[name], other = context.Pipe()
        context.Process(target=contender, args=(name, folder, steps, other), daemon=True).start()
        other.close()
    for _ in range(steps):
        for name in names:
            pipes[name].send("step")
            seconds, tokens = pipes[name].recv()
            found[name][0].append(seconds)
            found[name][1].append(tokens)
    return {name: (*found[name][:2], pipes[name].recv()) for name in names}


def main(folder: str, steps: int = STEPS) -> None:
    """Print the table."""
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    rows = measured(("TRL as it comes",), folder, WARM_UP + 1)
    rows |= measured(("ours", "plain loop"), folder, WARM_UP + steps)
    plain = statistics.median(rows["plain loop"][0][WARM_UP:])
    print(f"{'':16} {'median step':>12} {'against plain':>14} {'tokens':>7} {'peak memory':>12} {'steps':>6}")
    for name, (seconds, tokens, peak) in rows.items():
        kept = seconds[WARM_UP:]
        median = statistics.median(kept)
        print(
            f"{name:16} {median:10.1f} s {median / plain:13.2f}x {statistics.mean(tokens):7.0f} {peak:8.2f} GiB {len(kept):6}"
        )


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
