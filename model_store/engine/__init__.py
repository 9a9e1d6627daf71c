"""Asks models: to describe an item, to rewrite a summary, to score candidates.

One `Engine` stands for one model on one vLLM server. Prompts, picture size, label tokens and
limits come from the model version, or from the built-in default prompts.
"""
