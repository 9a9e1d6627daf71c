"""The first stages of MLLM-MSR for a whole dataset: item descriptions (1) and user summaries (2a).

They are written by the engine, the prompts and the retries of the workers.
"""
