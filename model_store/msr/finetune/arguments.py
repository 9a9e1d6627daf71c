"""What TRL and PEFT are told."""

from pathlib import Path
from typing import Any

import torch

from model_store.devices import multiplies_fast, training_device
from model_store.msr.finetune.families import LANGUAGE_MODEL
from model_store.msr.finetune.options import FinetuneOptions
from model_store.msr.finetune.trainer import AUC

_WHOLE_RUN = 1 - 1e-9


def multiplies_in_bfloat16(options: FinetuneOptions) -> bool:
    """Whether to compute in bfloat16: by default where the hardware has units for it."""
    if options.precision == "auto":
        return multiplies_fast(training_device())
    return options.precision == "bfloat16"


def training_arguments(options: FinetuneOptions, folder: Path) -> Any:
    """Arguments of a run whose checkpoints go to `folder`."""
    from trl import SFTConfig

    # Trainer takes 1 for a step, and anything below for a share of the run.
    share = min(1 / options.evaluations, _WHOLE_RUN)
    return SFTConfig(
        output_dir=str(folder),
        seed=options.seed,
        data_seed=options.seed,
        num_train_epochs=options.epochs,
        max_steps=options.max_steps or -1,
        learning_rate=options.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=options.warmup,
        optim="adamw_torch",
        per_device_train_batch_size=options.batch_size,
        gradient_accumulation_steps=options.accumulate,
        gradient_checkpointing=options.gradient_checkpointing,
        bf16=multiplies_in_bfloat16(options),
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        max_length=None,  # a limit cuts picture tokens
        packing=False,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,  # every adapter is in every forward pass, whether or not it has a picture
        eval_strategy="steps",
        eval_steps=share,
        save_strategy="steps",
        save_steps=share,
        save_total_limit=2,
        load_best_model_at_end=True,
        restore_callback_states_from_checkpoint=True,  # patience counts the validations before an interruption
        metric_for_best_model=AUC,
        greater_is_better=True,
        logging_steps=1,
        report_to="none",
        log_level="error",
        log_level_replica="error",
        disable_tqdm=True,
    )


def adapter(options: FinetuneOptions) -> Any:
    """LoRA on the language model only: neither the vision tower nor embeddings nor the output layer, whose rows are the
    labels' in vLLM."""
    from peft import LoraConfig

    return LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=LANGUAGE_MODEL,
        bias="none",
        task_type="CAUSAL_LM",
    )
