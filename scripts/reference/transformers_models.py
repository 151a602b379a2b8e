#!/usr/bin/env python3
"""Tiny random models of each family and what transformers computes with them.

    pip install torch==2.13.0 transformers==5.23.0
    python scripts/reference/transformers_models.py

Writes crates/model/tests/fixtures/<family>/: config.json, model.safetensors (f32) and expected.json:
the logits and last hidden states of two sequences of different lengths, 64 greedy tokens, and the
gradient of the weighted sum of a completion's log-probabilities in three tensors.
"""
import json
import pathlib

import torch
from transformers import (Gemma2Config, Gemma2ForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig,
                          LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM,
                          Phi3Config, Phi3ForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config,
                          Qwen3ForCausalLM, SmolLM3Config, SmolLM3ForCausalLM)

FIXTURES = pathlib.Path(__file__).parents[2] / "crates/model/tests/fixtures"
SHAPE = dict(vocab_size=40, hidden_size=24, num_hidden_layers=2, intermediate_size=36,
             max_position_embeddings=128, bos_token_id=None, eos_token_id=39, pad_token_id=None)


def phi3(original, **more):
    """Heads of 8 of which 6 entries turn, by one set of factors up to `original` tokens."""
    return Phi3Config(
        **SHAPE | {"hidden_size": 32}, num_attention_heads=4, num_key_value_heads=2,
        original_max_position_embeddings=original,
        rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0,
                         "partial_rotary_factor": 0.75, "short_factor": [1.0, 1.5, 2.0],
                         "long_factor": [2.0, 5.0, 9.0]}, **more)


FAMILIES = {
    "llama": (LlamaForCausalLM, LlamaConfig(
        **SHAPE, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False,
        rope_theta=500000.0)),
    "llama_tied": (LlamaForCausalLM, LlamaConfig(
        **SHAPE, num_attention_heads=3, num_key_value_heads=3, tie_word_embeddings=True)),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(
        **SHAPE, num_attention_heads=4, num_key_value_heads=1, tie_word_embeddings=True)),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(
        **SHAPE, num_attention_heads=4, num_key_value_heads=2, head_dim=10,
        tie_word_embeddings=False)),
    "llama3": (LlamaForCausalLM, LlamaConfig(
        **SHAPE, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
        rope_parameters={"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0,
                         "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 256})),
    # The upper of two layers slides, and the rotation is stretched.
    "qwen2_yarn": (Qwen2ForCausalLM, Qwen2Config(
        **SHAPE, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
        use_sliding_window=True, sliding_window=6, max_window_layers=1,
        rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0,
                         "original_max_position_embeddings": 32})),
    "mistral": (MistralForCausalLM, MistralConfig(
        **SHAPE, num_attention_heads=4, num_key_value_heads=2, head_dim=8, sliding_window=5)),
    "smollm3": (SmolLM3ForCausalLM, SmolLM3Config(
        **SHAPE, num_attention_heads=4, num_key_value_heads=2, no_rope_layer_interval=2)),
    "phi3": (Phi3ForCausalLM, phi3(100, sliding_window=9)),
    # Sequences from 4 tokens on turn by the factors of long ones.
    "phi3_long": (Phi3ForCausalLM, phi3(3)),
    # Caps so low that they bend scores and logits of a tiny model.
    "gemma2": (Gemma2ForCausalLM, Gemma2Config(
        **SHAPE, num_attention_heads=4, num_key_value_heads=2, head_dim=8, sliding_window=5,
        query_pre_attn_scalar=10, attn_logit_softcapping=2.0, final_logit_softcapping=3.0)),
    "gemma3": (Gemma3ForCausalLM, Gemma3TextConfig(
        **SHAPE | {"num_hidden_layers": 3}, num_attention_heads=4, num_key_value_heads=2,
        head_dim=8, sliding_window=5, query_pre_attn_scalar=10,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"],
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}})),
}
GRADIENTS = ["model.embed_tokens.weight", "model.layers.0.self_attn.k_proj.weight",
             "model.layers.1.post_attention_layernorm.weight"]
GRADIENTS_OF = {
    "phi3": GRADIENTS[:1] + ["model.layers.0.self_attn.qkv_proj.weight",
                             "model.layers.0.mlp.gate_up_proj.weight"],
    "gemma2": GRADIENTS + ["model.layers.0.post_feedforward_layernorm.weight"],
    "gemma3": GRADIENTS + ["model.layers.0.self_attn.q_norm.weight"],
}
GRADIENTS_OF["phi3_long"] = GRADIENTS_OF["phi3"]


def rounded(tensor):
    return [float(f"{value:.9g}") for value in tensor.detach().flatten().tolist()]


def greedy(model, prompt, count):
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(count):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt):]


def main():
    for name, (family, config) in FAMILIES.items():
        torch.manual_seed(7)
        model = family(config).float().eval()
        with torch.no_grad():  # norms and biases are 1 and 0 at birth, which would hide mistakes
            for key, parameter in model.named_parameters():
                spread = 0.2 if parameter.dim() == 1 else 0.25
                parameter.add_(spread * torch.randn_like(parameter))
        folder = FIXTURES / name
        folder.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)

        sequences = [torch.randint(0, 39, (length,)).tolist() for length in (13, 5)]
        expected = {"sequences": []}
        for ids in sequences:
            out = model(torch.tensor([ids]), output_hidden_states=True)
            expected["sequences"].append({
                "ids": ids, "logits": rounded(out.logits), "hidden": rounded(out.hidden_states[-1])})
        expected["prompt"] = sequences[0]
        expected["greedy"] = greedy(model, sequences[0], 64)

        prompt, completion = sequences[0][:6], sequences[0][6:]
        weights = [0.5 - 0.3 * t for t in range(len(completion))]
        logprobs = model(torch.tensor([sequences[0]])).logits[0].log_softmax(-1)
        picked = torch.stack([logprobs[len(prompt) - 1 + t, token]
                              for t, token in enumerate(completion)])
        loss = (picked * torch.tensor(weights)).sum()
        model.zero_grad()
        loss.backward()
        parameters = dict(model.named_parameters())
        expected["gradient"] = {
            "prompt": prompt, "completion": completion, "weights": weights,
            "logprobs": rounded(picked),
            "tensors": {key: rounded(parameters[key].grad) for key in GRADIENTS_OF.get(name, GRADIENTS)}}
        (folder / "expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()
