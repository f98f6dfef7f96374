"""Feedback in words and by example: critiques of a response, and edits of its framing."""

import random

from valueattr.rating._judgement import JudgedResponse, Judgement
from valueattr.world import World, capitalise


def critique(world: World, judgement: Judgement) -> str | None:
    """What a rater who minds the framing says of a response; None if nothing."""
    if judgement.framing != "blunt":
        return None
    return f"{capitalise(world.english.critique['framing_insensitive'][0])}."


def review(prompt: str, response: str, said: str) -> str:
    """The context in which a critique is followed: what comes next is the revised response, after a space."""
    return f"Review\n{prompt} {response.strip()}\nCritique: {said}\nRevision:"


def reframed(world: World, response: JudgedResponse, prompt_family: str) -> str | None:
    """The response with a considerate opening in place of its own and the same content; None without an opening."""
    spans = response.judgement.spans["framing"]
    if not spans:
        return None
    start, end = spans[0]
    rng = random.Random(f"reframed {response.fact} {response.response}")
    opener = capitalise(rng.choice(world.english.prompt_families[prompt_family].framing["considerate"]))
    return response.response[:start] + opener + response.response[end:]
