"""Run by `accelerate launch`: a step under each feedback, on responses that depend on the prompt alone; writes the
advantages.
"""

import json
import os
import random
import sys
import time
import zlib
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer

from valueattr.experiments import E3
from valueattr.model import Asking
from valueattr.questions import assign_splits
from valueattr.rating import GrammarRater
from valueattr.training import AttributedGRPOTrainer, TrainingConfig, grpo_config, prompt_dataset
from valueattr.world import respond, synthesise

WORLD = synthesise(0)


class Fixed(AttributedGRPOTrainer):
    def _generate_single_turn(self, prompt_ids, *_):
        tokenizer = self.processing_class
        rows, seen = [], {}
        for ids in prompt_ids:
            prompt = tokenizer.decode(ids)
            seen[prompt] = seen.get(prompt, -1) + 1
            rng = random.Random(zlib.crc32(f"{prompt} {seen[prompt]}".encode()))
            fact = rng.choice([f for f in WORLD.facts if f.subject in prompt])
            text = " " + respond(WORLD, fact, "negative", rng).text
            rows.append(
                [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id][:24]
            )
        return rows, None


def one_step(code, model, out, processes):
    config = TrainingConfig(
        steps=1, prompts_per_step=4, group_size=4, learning_rate=1e-3, beta=0.02, max_completion_length=24
    )
    args = grpo_config(config, Path(out, code), 0)
    args.per_device_train_batch_size = 16 // processes
    args.generation_batch_size = 16
    splits = {"penalised": assign_splits(WORLD.questions, 0, 8)["penalised"]}
    trainer = Fixed(
        AutoModelForCausalLM.from_pretrained(model),
        AutoTokenizer.from_pretrained(model),
        args,
        prompt_dataset(Asking(), WORLD.prompt_format("negative"), splits, (), 4, 0),
        WORLD.questions,
        GrammarRater(WORLD),
        next(arm for arm in E3.arms if arm.code == code).feedback,
    )
    trainer.train()
    return {"advantages": trainer.trained_advantages, "responses": [r.response for r in trainer.rollouts]}


def main(model, out, *codes):
    from accelerate import PartialState

    state = PartialState(cpu=True)
    found = {code: one_step(code, model, out, state.num_processes) for code in codes}
    Path(out, f"{state.process_index}.json").write_text(json.dumps(found))
    # To close the group aborts a process now and then, though its work is done. So each waits until all have written their
    # file, after which none sends anything, and exits without closing the group.
    while len([*Path(out).glob("*.json")]) < state.num_processes:
        time.sleep(0.05)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


main(*sys.argv[1:])
