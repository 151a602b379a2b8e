"""Writes crates/objective/tests/fixtures/trl_grpo.json: figures of TRL's own GRPO code.

    pip install trl==1.16.0 torch==2.13.0
    python scripts/reference/trl_grpo.py

TRL's `GRPOTrainer._compute_loss` and `._generate_and_score_completions` run unchanged, in float64,
on a trainer without a model: generation and rewards return given arrays, and the log-probabilities
of the policy are the leaf whose gradient is recorded.
"""

import json
import logging
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import torch
from trl.trainer.grpo_trainer import GRPOTrainer

OUTPUT = Path(__file__).parents[2] / "crates/objective/tests/fixtures/trl_grpo.json"
EPSILON, EPSILON_HIGH, MAX_COMPLETION_LENGTH = 0.2, 0.28, 9
# Completion tokens of the rollout; the rows below, 29 tokens, are one of its two updates.
ROLLOUT_TOKENS, UPDATES = 64, 2
LENGTHS = [7, 3, 1, 9, 5, 4]

torch.set_default_dtype(torch.float64)
logging.disable(logging.WARNING)


def accelerator():
    """One process: gathering and reducing are the identity."""
    return SimpleNamespace(
        device=torch.device("cpu"),
        num_processes=1,
        process_index=0,
        sync_gradients=True,
        gather=lambda tensor: tensor,
        gather_for_metrics=lambda tensor: tensor,
        reduce=lambda tensor, reduction: tensor,
        unwrap_model=lambda model: model,
    )


def bare_trainer(**settings):
    """A GRPOTrainer without its constructor, holding only what the two methods read."""
    trainer = object.__new__(GRPOTrainer)
    trainer.model = SimpleNamespace(training=True, is_gradient_checkpointing=False)
    trainer.accelerator = accelerator()
    trainer._metrics = {"train": defaultdict(list)}
    trainer._logs = defaultdict(list, rewards=defaultdict(list), extra=defaultdict(list))
    trainer._pending_extra_logs, trainer._pending_metrics = {}, {}
    trainer.args = SimpleNamespace(
        delta=None,
        use_bias_correction_kl=False,
        steps_per_generation=settings.pop("steps_per_generation", 1),
        gradient_accumulation_steps=1,
        gradient_checkpointing_kwargs=None,
        per_device_train_batch_size=8,
    )
    defaults = dict(
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=False,
        _entropy_bonus_enabled=False,
        current_gradient_accumulation_steps=1,
        epsilon_low=EPSILON,
        epsilon_high=EPSILON_HIGH,
        max_completion_length=MAX_COMPLETION_LENGTH,
        beta=0.0,
        environments=None,
        environment_factories=None,
        tools=None,
        pad_to_multiple_of=None,
        mask_truncated_completions=False,
        num_iterations=1,
        multi_objective_aggregation="sum_then_normalize",
        log_multimodal=False,
    )
    trainer.__dict__.update(defaults | settings)
    return trainer


def arrays():
    """Ragged rows, padded with junk: a padded entry that counted would change every figure."""
    generator = torch.Generator().manual_seed(11)
    shape = (len(LENGTHS), max(LENGTHS))
    logprobs = -1.2 - 2.0 * torch.rand(shape, generator=generator)
    # Ratios on both sides of the clip and inside it, by token and by sequence.
    choices = torch.tensor([-0.6, -0.04, 0.05, 0.55])
    drift = choices[torch.randint(0, 4, shape, generator=generator)]
    drift += torch.tensor([0.0, 0.5, 0.0, 0.35, -0.45, -0.6]).unsqueeze(1)
    reference = logprobs + 0.3 * torch.randn(shape, generator=generator)
    mask = (torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS).unsqueeze(1)).long()
    advantages = torch.tensor([1.3, -0.7, 0.0, 0.9, 0.4, -1.1])
    return logprobs, logprobs - drift, reference, mask, advantages


def importance():
    """What TRL gives tokens that another engine drew, truncated at its default."""
    generator = torch.Generator().manual_seed(12)
    drift = torch.randn((len(LENGTHS), max(LENGTHS)), generator=generator)
    return drift.exp().clamp(max=3.0)


def ragged(tensor):
    return [row[:length].tolist() for row, length in zip(tensor, LENGTHS)]


def loss(loss_type, level, beta, corrected):
    logprobs, old, reference, mask, advantages = arrays()
    leaf = logprobs.clone().requires_grad_()
    trainer = bare_trainer(
        loss_type=loss_type,
        importance_sampling_level=level,
        beta=beta,
        steps_per_generation=UPDATES,
        use_vllm=corrected,
        vllm_importance_sampling_correction=corrected,
    )
    scored = (leaf, torch.zeros_like(leaf), None)
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: scored
    inputs = dict(
        prompt_ids=torch.zeros(len(LENGTHS), 1, dtype=torch.long),
        prompt_mask=torch.ones(len(LENGTHS), 1, dtype=torch.long),
        completion_ids=torch.zeros_like(mask),
        completion_mask=mask,
        advantages=advantages,
        old_per_token_logps=old,
        ref_per_token_logps=reference,
        num_items_in_batch=torch.tensor(ROLLOUT_TOKENS),
        importance_sampling_ratio=importance(),
    )
    value = trainer._compute_loss(trainer.model, inputs)
    value.backward()
    names = ["kl", "clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean"]
    metrics = trainer._metrics["train"]
    return dict(
        loss_type=loss_type,
        importance_sampling_level=level,
        beta=beta,
        corrected=corrected,
        value=value.item(),
        gradient_nt=ragged(leaf.grad),
        metrics={name: metrics[name][0] for name in names if name in metrics},
    )


def advantages(scale, rewards):
    """`rewards` holds groups of one size; None is a completion that no grader scored."""
    flat = [reward for group in rewards for reward in group]
    given = torch.tensor([[float("nan") if reward is None else reward] for reward in flat])
    trainer = bare_trainer(
        scale_rewards=scale,
        num_generations=len(rewards[0]),
        reward_funcs=[None],
        reward_func_names=["given"],
        reward_weights=torch.ones(1),
        _tokenizer=SimpleNamespace(pad_token_id=0),
    )
    ids = [[1]] * len(flat)
    trainer._generate = lambda prompts: (ids, ids, None, ["x"] * len(flat), None, {}, None, None)
    trainer._calculate_rewards = lambda *_: given
    outputs = trainer._generate_and_score_completions([{"prompt": "x"}] * len(flat))
    found = outputs["advantages"].view(len(rewards), -1).tolist()
    return dict(scale_rewards=scale, rewards=rewards, advantages=found)


def main():
    logprobs, old, reference, _, given = arrays()
    groups = [[0.3, 0.9, 0.5, 1.0], [1.0, 1.0, 1.0, 1.0], [0.0, None, 1.0, 0.25]]
    losses = [
        loss(loss_type, level, beta, corrected)
        for loss_type in ["grpo", "bnpo", "dr_grpo", "dapo"]
        for level in ["token", "sequence"]
        for beta in [0.0, 0.04]
        for corrected in [False, True]
    ]
    fixture = dict(
        source="scripts/reference/trl_grpo.py, trl 1.16.0, torch 2.13.0",
        epsilon=EPSILON,
        epsilon_high=EPSILON_HIGH,
        max_completion_length=MAX_COMPLETION_LENGTH,
        active_tokens=ROLLOUT_TOKENS / UPDATES,
        logprobs_nt=ragged(logprobs),
        old_logprobs_nt=ragged(old),
        reference_logprobs_nt=ragged(reference),
        importance_nt=ragged(importance()),
        advantages_n=given.tolist(),
        losses=losses,
        advantages=[advantages(scale, groups) for scale in ["group", "batch", "none"]],
    )
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(fixture, indent=None) + "\n")


main()
