"""valueattr measures what RLHF does to a language model's knowledge and candour."""

__version__ = "0.1.0"
