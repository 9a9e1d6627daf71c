"""NoteLLM-2 (arXiv 2405.16789): one vector for the picture and the words of an item.

A frozen vision encoder and a connector give a language model the picture as soft tokens. Its prompt (mICL) has two
positions that are read: one that has seen the picture only, and the last one. A gate mixes both hidden states with the
picture's feature (late fusion), a projection makes vectors of them. `head` and `prompt` are what the service needs, and
import neither torch nor transformers.
"""
