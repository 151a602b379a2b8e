#!/usr/bin/env python3
"""Adapters that PEFT makes for the tiny models of transformers_models.py, and what it computes.

    pip install torch==2.13.0 transformers==5.23.0 peft==0.21.0
    python scripts/reference/peft_lora.py

Writes crates/model/tests/fixtures/lora_<name>/: adapter_config.json, adapter_model.safetensors (as
PEFT saves them) and expected.json: the model's folder, two sequences with their logits, and the
gradient of the weighted sum of a completion's log-probabilities in every matrix of the adapter.
"""
import json
import pathlib

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

FIXTURES = pathlib.Path(__file__).parents[2] / "crates/model/tests/fixtures"
ADAPTERS = {
    "llama": LoraConfig(r=4, lora_alpha=8, lora_dropout=0.1, target_modules="all-linear",
                        task_type="CAUSAL_LM"),
    "qwen2": LoraConfig(r=3, lora_alpha=5, use_rslora=True, target_modules=["q_proj", "v_proj", "down_proj"],
                        task_type="CAUSAL_LM"),
    "qwen3": LoraConfig(r=1, lora_alpha=2, target_modules=["self_attn.k_proj", "o_proj", "up_proj"],
                        layers_to_transform=[1], task_type="CAUSAL_LM"),
}


def rounded(tensor):
    return [float(f"{value:.7g}") for value in tensor.detach().flatten().tolist()]


def main():
    for name, config in ADAPTERS.items():
        torch.manual_seed(11)
        base = AutoModelForCausalLM.from_pretrained(FIXTURES / name, dtype=torch.float32)
        model = get_peft_model(base, config).eval()
        with torch.no_grad():  # B is 0 at birth, which would hide everything
            for key, parameter in model.named_parameters():
                if "lora_" in key:
                    parameter.add_(0.2 * torch.randn_like(parameter))
        model.peft_config["default"].base_model_name_or_path = name
        folder = FIXTURES / f"lora_{name}"
        model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)

        sequences = [torch.randint(0, 39, (length,)).tolist() for length in (13, 5)]
        expected = {"model": name, "sequences": [
            {"ids": ids, "logits": rounded(model(torch.tensor([ids])).logits)} for ids in sequences]}

        prompt, completion = sequences[0][:6], sequences[0][6:]
        weights = [0.5 - 0.3 * t for t in range(len(completion))]
        logprobs = model(torch.tensor([sequences[0]])).logits[0].log_softmax(-1)
        picked = torch.stack([logprobs[len(prompt) - 1 + t, token] for t, token in enumerate(completion)])
        model.zero_grad()
        (picked * torch.tensor(weights)).sum().backward()
        expected["gradient"] = {
            "prompt": prompt, "completion": completion, "weights": weights,
            "tensors": {key.replace(".default", ""): rounded(parameter.grad)
                        for key, parameter in model.named_parameters() if "lora_" in key}}
        (folder / "expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()
