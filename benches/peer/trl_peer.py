#!/usr/bin/env python3
"""The same work in TRL, transformers and PyTorch: the peer of `enigma bench`.

    pip install -r requirements.txt
    python trl_peer.py grpo --size 25m --steps 2 --threads 2
    python trl_peer.py decode --size 25m --prompts 8
    python trl_peer.py update --size 25m

Llamas of random weights, prompts of random words, one step that is not counted, then so many that
are. `grpo` times whole optimiser steps of TRL's GRPOTrainer: rollout is `_generate` and the reward,
scoring every pass without a gradient, update the rest. `decode` times `transformers.generate` on
prompts x group rows. `update` times the steps with which the trainer uses one group again
(`num_iterations`), whose completions are given instead of sampled.

Drawn lengths follow a geometric law whose mean is 40 % of the maximum: so many ids end a completion
that a model which draws nearly evenly, as one of random weights does, ends that soon.

`--device cuda` computes on the first card: weights in bfloat16 under autocast, as TRL's examples have
them, passes of one group at a time with accumulated gradients, no vLLM.

Prints one JSON object with the keys of `enigma bench --json`; times are in seconds.
"""
import argparse
import json
import os
import resource
import statistics
import tempfile
import time

LAUNCH = time.perf_counter()
SIZES = {  # hidden, layers, heads, kv heads, intermediate, vocabulary, positions
    "3m": (192, 6, 6, 2, 512, 512, 4096),
    "25m": (512, 8, 8, 4, 1408, 4096, 4096),
    "135m": (576, 30, 9, 3, 1536, 49152, 8192),
    "qwen3-0.6b": (1024, 28, 16, 8, 3072, 151936, 40960),
    "llama-3.2-1b": (2048, 16, 32, 8, 8192, 128256, 131072),
}
ENDS = 2.23  # as `enigma bench`: -ln P(a completion is cut) where the mean is 40 % of the maximum


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["grpo", "decode", "update"])
    parser.add_argument("--size", choices=SIZES, default="3m")
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--prompt-tokens", type=int, default=96)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--lengths", choices=["maximum", "drawn"], default="maximum")
    parser.add_argument("--beta", type=float, default=0.0)
    parser.add_argument("--lora", type=int, default=0, help="rank, 0 trains all weights")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    return parser.parse_args()


ARGS = arguments()
os.environ["OMP_NUM_THREADS"] = str(ARGS.threads)
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402  after the threads are set

torch.set_num_threads(ARGS.threads)
ON_CARD = ARGS.device == "cuda"


def now():
    """The clock, once the card has done its work."""
    if ON_CARD:
        torch.cuda.synchronize()
    return time.perf_counter()


FIRST_TOKEN = []
_multinomial = torch.multinomial


def multinomial(*args, **kwargs):
    """torch.multinomial, which tells when the first token was drawn."""
    drawn = _multinomial(*args, **kwargs)
    if not FIRST_TOKEN:
        FIRST_TOKEN.append(time.perf_counter() - LAUNCH)
    return drawn


torch.multinomial = multinomial


def end_tokens():
    vocabulary = SIZES[ARGS.size][5]
    if ARGS.lengths == "maximum":
        return [0]  # min_new_tokens keeps it out
    return list(range(min(vocabulary, max(1, round(ENDS * vocabulary / ARGS.new_tokens)))))


def make_model():
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    hidden, layers, heads, kv, inner, vocabulary, positions = SIZES[ARGS.size]
    torch.manual_seed(0)
    is_qwen = ARGS.size.startswith("qwen3")
    config, kind = (Qwen3Config, Qwen3ForCausalLM) if is_qwen else (LlamaConfig, LlamaForCausalLM)
    own = {"head_dim": 128} if is_qwen else {}
    model = kind(config(
        vocab_size=vocabulary, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=kv, intermediate_size=inner, max_position_embeddings=positions,
        tie_word_embeddings=True, eos_token_id=end_tokens(), pad_token_id=vocabulary - 1,
        bos_token_id=None, **own))
    model.generation_config.eos_token_id = end_tokens()
    return model.to("cuda", torch.bfloat16) if ON_CARD else model


def spread(seconds):
    return {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds)}


def result(lengths, seconds, **more):
    """Prints the object; `lengths` are those of the completions of each counted step in turn."""
    sequences = ARGS.prompts * ARGS.group
    steps = [lengths[at:at + sequences] for at in range(0, len(lengths), sequences)]
    print(json.dumps({
        "peer": "trl", "bench": ARGS.part, "size": ARGS.size, "lengths": ARGS.lengths,
        "beta": ARGS.beta, "lora": ARGS.lora, "sequences": sequences, "prompts": ARGS.prompts,
        "group": ARGS.group, "prompt_tokens": ARGS.prompt_tokens, "new_tokens": ARGS.new_tokens,
        "steps": ARGS.steps, "threads": ARGS.threads, "mean_new_tokens": statistics.mean(lengths),
        "step_s": spread(seconds),
        "new_tokens_per_s": statistics.median(sum(step) / s for step, s in zip(steps, seconds)),
        "device": ARGS.device, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "card_peak_mib": torch.cuda.max_memory_reserved() / 2**20 if ON_CARD else None,
        "launch_to_first_token_s": FIRST_TOKEN[0] if FIRST_TOKEN else None, **more}))


@torch.no_grad()
def decode():
    model = make_model().eval()
    vocabulary, end = SIZES[ARGS.size][5], end_tokens()
    prompts = torch.randint(3, vocabulary, (ARGS.prompts, ARGS.prompt_tokens)).to(ARGS.device)
    rows = prompts.repeat_interleave(ARGS.group, 0)
    least = ARGS.new_tokens if ARGS.lengths == "maximum" else None
    seconds, lengths = [], []
    for _ in range(ARGS.steps + 1):
        start = now()
        ids = model.generate(
            rows, attention_mask=torch.ones_like(rows), do_sample=True, temperature=1.0, top_k=0,
            top_p=1.0, max_new_tokens=ARGS.new_tokens, min_new_tokens=least)
        seconds.append(now() - start)
        for row in ids[:, ARGS.prompt_tokens:].tolist():
            stops = [at for at, token in enumerate(row) if token in end]
            lengths.append(1 + stops[0] if stops else len(row))
    result(lengths[len(rows):], seconds[1:])


def make_tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = SIZES[ARGS.size][5]
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(vocabulary)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="w0", eos_token="w0", pad_token=f"w{vocabulary - 1}")


def train():
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    vocabulary, end = SIZES[ARGS.size][5], end_tokens()
    sequences, is_update = ARGS.prompts * ARGS.group, ARGS.part == "update"
    model, tokenizer = make_model(), make_tokenizer()
    if ARGS.beta:  # the trainer loads the reference by name, so the model must lie in a folder
        folder = tempfile.mkdtemp()
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        model = folder
    generator = torch.Generator().manual_seed(1)

    def words(count, least):
        return torch.randint(least, vocabulary, (count,), generator=generator).tolist()

    rows = [" ".join(f"w{i}" for i in words(ARGS.prompt_tokens, 3))
            for _ in range(ARGS.prompts * (ARGS.steps + 3))]
    lengths, ends, spent = [], [], {"rollout": [], "scoring": []}

    def timed(part, call):
        start = now()
        try:
            return call()
        finally:
            if spent[part]:
                spent[part][-1] += now() - start

    class Timed(GRPOTrainer):
        """Says what its parts took."""

        def _generate(self, *args, **kwargs):
            return timed("rollout", lambda: super(Timed, self)._generate(*args, **kwargs))

        def _calculate_rewards(self, *args, **kwargs):
            return timed("rollout", lambda: super(Timed, self)._calculate_rewards(*args, **kwargs))

        def _generate_single_turn(self, prompt_ids, *args, **kwargs):
            if not is_update:
                return super()._generate_single_turn(prompt_ids, *args, **kwargs)
            given = []
            for _ in prompt_ids:
                uniform = torch.rand(1, generator=generator).item()
                ending = len(end) / vocabulary
                drawn = 1 + int(torch.log1p(torch.tensor(-uniform)) / torch.log1p(torch.tensor(-ending)))
                drawn = ARGS.new_tokens if ARGS.lengths == "maximum" else min(drawn, ARGS.new_tokens)
                given.append(words(drawn, len(end)))
            return given, None

        def _get_per_token_logps_and_entropies(self, *args, **kwargs):
            score = super()._get_per_token_logps_and_entropies
            if torch.is_grad_enabled():
                return score(*args, **kwargs)
            return timed("scoring", lambda: score(*args, **kwargs))

    class Clock(TrainerCallback):
        """Says when steps end."""

        def on_step_end(self, *_, **__):
            ends.append(now())
            for part in spent.values():
                part.append(0.0)

    def reward(completion_ids, **_):
        lengths.extend(len(ids) for ids in completion_ids)
        return [float(sum(ids) % 97) for ids in completion_ids]

    peft = None
    if ARGS.lora:
        from peft import LoraConfig
        peft = LoraConfig(
            r=ARGS.lora, lora_alpha=2 * ARGS.lora, target_modules="all-linear", task_type="CAUSAL_LM")
    config = GRPOConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=ARGS.group if ON_CARD else sequences,
        gradient_accumulation_steps=ARGS.prompts if ON_CARD else 1,
        num_generations=ARGS.group, max_completion_length=ARGS.new_tokens, temperature=1.0,
        beta=ARGS.beta, learning_rate=1e-6, max_steps=ARGS.steps + 1, logging_steps=1,
        num_iterations=ARGS.steps + 1 if is_update else 1, save_strategy="no", report_to=[],
        bf16=ON_CARD, use_cpu=not ON_CARD, gradient_checkpointing=False, disable_tqdm=True,
        generation_kwargs={"min_new_tokens": ARGS.new_tokens} if ARGS.lengths == "maximum" else {},
        **({"model_init_kwargs": {"dtype": "bfloat16" if ON_CARD else "float32"}} if ARGS.beta else {}))
    trainer = Timed(
        model=model, reward_funcs=reward, args=config, processing_class=tokenizer,
        train_dataset=Dataset.from_dict({"prompt": rows}), callbacks=[Clock()], peft_config=peft)
    trainer.train()
    seconds = [b - a for a, b in zip(ends, ends[1:])]
    rollout, scoring = (spent[part][:len(seconds)] for part in ("rollout", "scoring"))
    update = [s - r - c for s, r, c in zip(seconds, rollout, scoring)]
    # A group that is used again is drawn once.
    counted = lengths * len(seconds) if is_update else lengths[sequences:]
    result(counted, seconds, rollout_s=spread(rollout), scoring_s=spread(scoring),
           update_s=spread(update), launch_to_first_step_s=ends[0] - LAUNCH)


if ARGS.part == "decode":
    decode()
else:
    train()
