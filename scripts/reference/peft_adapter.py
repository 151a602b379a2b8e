#!/usr/bin/env python3
"""Opens an adapter in PEFT and compares its distributions with those of `enigma score`.

    pip install torch==2.13.0 transformers==5.23.0 peft==0.21.0
    cargo build --release
    python scripts/reference/peft_adapter.py ADAPTER [--base MODEL] [--enigma target/release/enigma]

For some random prompts of different lengths, the log-probability of every token of the vocabulary as the
next one: logits up to the constant that no softmax sees; with the adapter, and of the adapter merged into
the weights by PEFT. Prints the largest absolute differences, and how far the adapter moves the base, and
exits 1 if a difference exceeds 1e-4. `--base` is the model where adapter_config.json names another place
(for adapters of the built-in model: assets/nano/model).
"""
import argparse
import json
import subprocess
import sys
import tempfile

import torch
from peft import PeftConfig, PeftModel
from transformers import AutoModelForCausalLM

TOLERANCE = 1e-4


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("adapter")
    parser.add_argument("--base")
    parser.add_argument("--enigma", default="target/release/enigma")
    args = parser.parse_args()
    base = args.base or PeftConfig.from_pretrained(args.adapter).base_model_name_or_path
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    vocabulary = model.config.vocab_size
    generator = torch.Generator().manual_seed(0)
    prompts = [torch.randint(3, vocabulary, (length,), generator=generator).tolist() for length in (1, 7, 40, 97)]

    def distributions(model):
        with torch.no_grad():
            return torch.stack([model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1) for prompt in prompts])

    plain = distributions(model)
    model = PeftModel.from_pretrained(model, args.adapter).eval()
    adapted = distributions(model)
    merged = distributions(model.merge_and_unload())

    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as rows:
        for prompt in prompts:
            for token in range(vocabulary):
                rows.write(json.dumps({"prompt_ids": prompt, "completion_ids": [token]}) + "\n")
        rows.flush()
        command = [args.enigma, "score", "--model", args.adapter, "--input", rows.name, "--json"]
        command += ["--base", args.base] if args.base else []
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    found = torch.tensor([json.loads(line)["logprobs"][0] for line in lines]).view(len(prompts), vocabulary)

    differences = [(expected - found).abs().max().item() for expected in (adapted, merged)]
    print(f"{args.adapter}: {len(prompts)} x {vocabulary} log-probabilities, largest difference "
          f"{differences[0]:.2e}, to the merged model {differences[1]:.2e} (limit {TOLERANCE:.0e}); "
          f"the adapter moves the base by {(adapted - plain).abs().max().item():.2e}")
    sys.exit(max(differences) > TOLERANCE)


if __name__ == "__main__":
    main()
