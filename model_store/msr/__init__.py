"""MLLM-MSR (arXiv 2408.09698): a preference summary that follows the user, and a multimodal LLM that ranks by it.

Needs torch and transformers: the gateway and the workers never import this package.
"""

from model_store.serving.torchvision_ops import declare

declare()  # before the first import of transformers, which imports torchvision
