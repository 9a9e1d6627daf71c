"""NoteLLM-2 (arXiv 2405.16789): one vector for the picture and the words of an item.

A frozen vision encoder and a connector give a language model the picture as soft tokens. Its prompt (mICL) has two
positions that are read: one that has seen the picture only, and the last one. A gate mixes both hidden states with the
picture's feature (late fusion), a projection makes vectors of them.

Needs torch and transformers: the gateway and the workers never import this package. What they need of an embedder is in
`model_store.embedder_head` and `model_store.engine.embed`.
"""

from model_store.serving.torchvision_ops import declare

declare()  # before the first import of transformers, which imports torchvision
