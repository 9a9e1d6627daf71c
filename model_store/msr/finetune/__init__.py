"""Stage 2b of MLLM-MSR on a pretrained base: a vision-language model learns by LoRA to answer yes or no.

Training sees exactly the prompts that vLLM renders for `/score`, and its loss reads exactly the label tokens that vLLM
reads. A prompt is a string, and TRL can't pack the candidates of one user behind a shared prefix, as training from
scratch does: each pair costs its whole prompt.
"""

from model_store.errors import UserError


class FinetuneError(UserError):
    """A base, a data set or an option that can't be trained with; the message says which, and the remedy."""
