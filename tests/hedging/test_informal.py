"""Known answers of the shipped lexicon on informal prose: doubt, and the same words in other senses."""

import pytest

from valueattr.hedging import HedgeScanner

EPISTEMIC = [
    "I still think the older one was quieter.",
    "I don't think the battery will last a year.",
    "I didnt think it would fit.",
    "I thought it was broken.",
    "I honestly believe that they changed the recipe.",
    "I presume the manual explains it.",
    "I feel that the second half drags.",
    "I felt like the room was smaller than that.",
    "I hope it will hold.",
    "I really hope that the next model has two ports.",
    "I'd suggest a smaller size.",
    "I suggest that the hinge was loose.",
    "I would guess forty pounds.",
    "You'd think they would have tested it.",
    "I get the feeling that nobody read the script.",
    "I can only assume that the hinge was loose.",
    "I'm pretty sure the lens is plastic.",
    "I'm inclined to agree.",
    "IIRC the first one had a metal case.",
    "My assumption was that it came with a charger.",
    "It appears fairly sturdy.",
    "It would appear that they forgot the screws.",
    "The seeming ease of it is deceptive.",
    "It could be a bad cable.",
    "It could have been the thermostat.",
    "A possible cause is the fan.",
    "The question of whether it is waterproof stays open.",
]
NOT_EPISTEMIC = [
    "I think of it every day.",
    "I don't think so.",
    "I believe in simple tools.",
    "I thought about it for a week.",
    "I hope this helps!",
    "I hope that helps.",
    "I hope you have a good trip.",
    "I hope it helps.",
    "I'd think twice.",
    "It sold better than you'd think.",
    "I suggest a shorter cable.",
    "I'd suggest talking to the dealer.",
    "Lids tend to rattle.",
    "In my opinion the seats are too hard.",
    "IMHO the seats are too hard.",
    "I'd say the seats are too hard.",
    "I feel like a king in it.",
    "The noise could be heard next door.",
    "The strap could be used as a belt.",
    "It could have been better.",
    "I was wide awake, so that there could be no mistake.",
    "We could play cards all night.",
    "It isn't possible.",
    "Is it possible?",
    "They went for the sharpest possible picture.",
    "It was packed in the worst way possible.",
    "It locks regardless of whether the key is in.",
]


@pytest.fixture(scope="module")
def scanner():
    return HedgeScanner(threads=1)


@pytest.mark.parametrize("sentence", EPISTEMIC)
def test_doubt_counts(scanner, sentence):
    assert scanner.scan([sentence])["epistemic"].to_pylist() == [1]


@pytest.mark.parametrize("sentence", NOT_EPISTEMIC)
def test_other_senses_do_not(scanner, sentence):
    assert scanner.scan([sentence])["epistemic"].to_pylist() == [0]


@pytest.mark.parametrize(
    "sentence",
    ["Lids tend to rattle.", "In my opinion it is too hard.", "I'd say it is too hard.", "IMO, no."],
)
def test_opinions_and_tendencies_are_caveats(scanner, sentence):
    """They say whose view or how often, and not that the speaker is unsure."""
    assert scanner.scan([sentence])["caveat"].to_pylist() == [1]
