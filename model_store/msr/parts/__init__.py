"""A multimodal ranker made of pretrained parts: a small language model and a frozen vision encoder.

A projector turns the encoder's feature map into a few soft tokens of the language model, which is fine-tuned with
LoRA: LLaVA's recipe (arXiv 2304.08485). The merged language model is a plain text checkpoint that vLLM serves as it
is; encoder and projector stay outside and make the soft tokens of each picture once.
"""
