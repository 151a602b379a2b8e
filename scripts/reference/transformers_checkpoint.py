#!/usr/bin/env python3
"""Opens a checkpoint in transformers and compares its distributions with those of `enigma score`.

    pip install torch==2.13.0 transformers==5.23.0
    cargo build --release
    python scripts/reference/transformers_checkpoint.py CHECKPOINT [--enigma target/release/enigma]

For some random prompts of different lengths, the log-probability of every token of the vocabulary as the
next one: logits up to the constant that no softmax sees. Then one greedy rendering of the chat template.
Prints the largest absolute difference and exits 1 if it exceeds 1e-4.
"""
import argparse
import json
import subprocess
import sys
import tempfile

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TOLERANCE = 1e-4


def differs(checkpoint, enigma):
    """Prints the largest difference, and gives whether it is too large."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    vocabulary = model.config.vocab_size
    generator = torch.Generator().manual_seed(0)
    prompts = [torch.randint(3, vocabulary, (length,), generator=generator).tolist() for length in (1, 7, 40, 97)]

    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as rows:
        for prompt in prompts:
            for token in range(vocabulary):
                rows.write(json.dumps({"prompt_ids": prompt, "completion_ids": [token]}) + "\n")
        rows.flush()
        command = [enigma, "score", "--model", checkpoint, "--input", rows.name, "--json"]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    found = torch.tensor([json.loads(line)["logprobs"][0] for line in lines]).view(len(prompts), vocabulary)

    largest = 0.0
    with torch.no_grad():
        for prompt, logprobs in zip(prompts, found):
            expected = model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
            largest = max(largest, (expected - logprobs).abs().max().item())
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    messages = [{"role": "user", "content": "How many?"}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    print(f"{checkpoint}: {len(prompts)} x {vocabulary} log-probabilities, "
          f"largest difference {largest:.2e} (limit {TOLERANCE:.0e}); chat template gives {len(ids)} ids")
    return largest > TOLERANCE


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("--enigma", default="target/release/enigma")
    args = parser.parse_args()
    sys.exit(differs(args.checkpoint, args.enigma))


if __name__ == "__main__":
    main()
