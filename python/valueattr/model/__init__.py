"""The language model under study: loaded safely, asked in its own format, and taught the facts it does not know."""

from valueattr.model._adapters import reference_of
from valueattr.model._asking import Asking
from valueattr.model._cache import cache_directory, cached_folder
from valueattr.model._cores import on_own_cores
from valueattr.model._errors import ModelError
from valueattr.model._loading import (
    check_vocabulary,
    device,
    load_classifier,
    load_model,
    load_tokenizer,
    position_ids,
)
from valueattr.model._lora import RoundedWeights, adapter_rank_for, lora_config, unfused_attention
from valueattr.model._pretraining import continue_training, text_digest
from valueattr.model._reading import (
    ClosedSetScores,
    answer_inputs,
    closed_set_log_probs,
    log_p_of_answers,
    log_p_per_token,
    token_distributions,
)
from valueattr.model._sampling import (
    by_cumulation,
    end_tokens,
    evaluating,
    sample_answers,
    sample_ids,
    sample_texts,
)
from valueattr.model._sources import shown_name
from valueattr.model._teaching import Taught, TeachingRecipe, in_format, taught_model

__all__ = [
    "Asking",
    "ClosedSetScores",
    "ModelError",
    "RoundedWeights",
    "Taught",
    "TeachingRecipe",
    "adapter_rank_for",
    "answer_inputs",
    "by_cumulation",
    "cache_directory",
    "cached_folder",
    "check_vocabulary",
    "closed_set_log_probs",
    "continue_training",
    "device",
    "end_tokens",
    "evaluating",
    "in_format",
    "load_classifier",
    "load_model",
    "load_tokenizer",
    "log_p_of_answers",
    "log_p_per_token",
    "lora_config",
    "on_own_cores",
    "position_ids",
    "reference_of",
    "sample_answers",
    "sample_ids",
    "sample_texts",
    "shown_name",
    "taught_model",
    "text_digest",
    "token_distributions",
    "unfused_attention",
]
