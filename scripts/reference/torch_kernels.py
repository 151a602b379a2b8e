"""Writes crates/kernel/tests/oracle/fixtures/*.json: values and gradients by PyTorch.

    pip install torch==2.13.0 transformers
    python scripts/reference/torch_kernels.py

Inputs are not stored: both sides fill tensor `seed` with `uniform(seed, i)`, a hash of the index
that is exact in float32. Everything is computed in float64 by autograd, except the rotary table and
AdamW, which are compared in the float32 that transformers and torch use.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import LlamaConfig, Phi3Config
from transformers.activations import ACT2FN
from transformers.generation import TopKLogitsWarper, TopPLogitsWarper
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb
from transformers.models.phi3 import modeling_phi3

OUTPUT = Path(__file__).parents[2] / "crates/kernel/tests/oracle/fixtures"
MASK = (1 << 64) - 1

torch.set_default_dtype(torch.float64)


def uniform(seed, index):
    """A value in [-1, 1) with 24 bits: splitmix64 of the seed and the index."""
    z = ((seed << 32) + index + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return ((z ^ (z >> 31)) >> 40) / (1 << 23) - 1.0


def tensor(seed, rows, columns, scale=1.0):
    """A leaf of hashed values; `scale` is a power of two, so that float32 stays exact."""
    values = [uniform(seed, i) * scale for i in range(rows * columns)]
    return torch.tensor(values).reshape(rows, columns).requires_grad_()


def gradients(output, seed, *inputs):
    """Of `sum(output * hashed values)`."""
    weight = tensor(seed, *output.shape).detach()
    return torch.autograd.grad((output * weight).sum(), inputs)


def linear():
    cases = {}
    for name, n, i, o in [("odd", 5, 7, 3), ("single row", 1, 19, 33), ("wide", 17, 9, 30)]:
        x, weight, bias = tensor(1, n, i), tensor(2, i, o), tensor(3, 1, o)
        y = x @ weight + bias
        grad = gradients(y, 4, x, weight, bias)
        cases[name] = {"shape": [n, i, o], "y": y, "grad_x": grad[0], "grad_weight": grad[1]}
        cases[name]["grad_bias"] = grad[2]
    return cases


def rms_norm():
    cases = {}
    for name, n, d, epsilon in [("odd", 5, 33, 1e-5), ("single row", 1, 70, 1e-6)]:
        x, weight = tensor(1, n, d), tensor(2, 1, d)
        y = F.rms_norm(x, (d,), weight[0], epsilon)
        grad_x, grad_weight = gradients(y, 3, x, weight)
        cases[name] = {"shape": [n, d], "epsilon": [epsilon], "y": y}
        cases[name] |= {"grad_x": grad_x, "grad_weight": grad_weight}
    n, d = 6, 21
    norm, x = Gemma3RMSNorm(d, 1e-6).double(), tensor(1, n, d)
    norm.weight.data = tensor(2, 1, d).detach()[0]
    y = norm(x)
    grad_x, grad_weight = gradients(y, 3, x, norm.weight)
    cases["offset"] = {"shape": [n, d], "epsilon": [1e-6], "y": y}
    cases["offset"] |= {"grad_x": grad_x, "grad_weight": grad_weight}
    n, heads, size, start, width = 4, 3, 10, 5, 41
    x, weight = tensor(1, n, width), tensor(2, 1, size)
    columns = slice(start, start + heads * size)
    y = F.rms_norm(x[:, columns].reshape(n, heads, size), (size,), weight[0], 1e-6)
    grad_y = tensor(3, n, width).detach()[:, columns]
    loss = (y.reshape(n, -1) * grad_y).sum()
    grad_x, grad_weight = torch.autograd.grad(loss, (x, weight))
    cases["heads"] = {"shape": [n, heads, size, start, width], "y": y}
    cases["heads"] |= {"grad_x": grad_x, "grad_weight": grad_weight}
    return cases


def rope():
    heads, size, positions = 3, 10, [0, 1, 2, 17, 999, 131071]
    config = LlamaConfig(
        hidden_size=heads * size,
        num_attention_heads=heads,
        max_position_embeddings=131072,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    table = LlamaRotaryEmbedding(config)
    x = tensor(1, len(positions), heads * size).detach().float()
    cos, sin = table(x, torch.tensor([positions]))
    query = x.reshape(1, len(positions), heads, size).transpose(1, 2)
    y = apply_rotary_pos_emb(query, query, cos, sin)[0].transpose(1, 2).reshape(len(positions), -1)
    case = {"shape": [len(positions), heads, size], "positions": positions, "y": y}
    case |= {"inverse_frequencies": table.inv_freq.float(), "scale": [1.0]}
    return {"llama": case, "phi3, partly turned": partly_turned(heads, size, positions[:4])}


def partly_turned(heads, size, positions):
    """Six of ten entries of a head turn, in a rotation whose cosines and sines are stretched."""
    factors = {"short_factor": [1.0, 1.5, 2.0], "long_factor": [3.0, 4.0, 5.0]}
    config = Phi3Config(
        hidden_size=heads * size,
        num_attention_heads=heads,
        max_position_embeddings=131072,
        original_max_position_embeddings=4096,
        rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, **factors}
        | {"partial_rotary_factor": 0.6},
        pad_token_id=None,
    )
    table = modeling_phi3.Phi3RotaryEmbedding(config)
    x = tensor(1, len(positions), heads * size).detach().float()
    cos, sin = table(x, torch.tensor([positions]))
    query = x.reshape(1, len(positions), heads, size).transpose(1, 2)
    y = modeling_phi3.apply_rotary_pos_emb(query, query, cos, sin)[0]
    y = y.transpose(1, 2).reshape(len(positions), -1)
    case = {"shape": [len(positions), heads, size], "positions": positions, "y": y}
    return case | {"inverse_frequencies": table.inv_freq, "scale": [table.attention_scaling]}


def visible(segments, window):
    """Which rows see which: ancestors' rows, those before in one's own segment, and themselves;
    with a window, the last so many of them."""
    rows = sum(length for _, length, _ in segments)
    mask = torch.zeros(rows, rows, dtype=torch.bool)
    for start, length, parent in segments:
        own = slice(start, start + length)
        mask[own, own] = torch.ones(length, length).tril().bool()
        while parent is not None:
            above_start, above_length, parent = segments[parent]
            mask[own, above_start : above_start + above_length] = True
    positions = torch.arange(rows)
    for start, length, parent in segments:
        if parent is not None:
            above_start, above_length, _ = segments[parent]
            positions[start : start + length] += int(positions[above_start]) + above_length - start
        else:
            positions[start : start + length] -= start
    near = positions[:, None] - positions[None, :] < window if window else torch.tensor(True)
    return mask & near


def attention():
    cases = {}
    layouts = {
        "one segment": ((2, 2, 6), [(0, 9, None)], None, 0),
        "grouped queries": ((6, 2, 8), [(0, 5, None), (5, 7, None)], None, 0),
        "shared prompt": ((3, 1, 5), [(0, 6, None), (6, 4, 0), (10, 1, 0), (11, 5, 0)], None, 0),
        "tree of three levels": (
            (4, 2, 4),
            [(0, 3, None), (3, 2, None), (5, 4, 0), (9, 3, 2), (12, 2, 1)],
            None,
            0,
        ),
        "window over a prompt's end": ((4, 2, 6), [(0, 6, None), (6, 5, 0), (11, 2, 0)], None, 3),
        "capped": ((2, 1, 6), [(0, 5, None), (5, 4, 0)], 1.5, 0),
        "capped in a window of a tree": (
            (4, 2, 4),
            [(0, 3, None), (3, 4, 0), (7, 3, 1), (10, 2, 1)],
            0.75,
            5,
        ),
    }
    for name, ((query, key_value, size), segments, cap, window) in layouts.items():
        mask = visible(segments, window)
        scale = 0.375 if cap else size**-0.5
        n = mask.shape[0]
        qkv = tensor(1, n, (query + 2 * key_value) * size, 2.0)
        parts = qkv.split([query * size, key_value * size, key_value * size], dim=1)
        q, k, v = (part.reshape(n, -1, size).transpose(0, 1) for part in parts)
        k, v = (x.repeat_interleave(query // key_value, dim=0) for x in (k, v))
        scores = q @ k.transpose(1, 2) * scale
        if cap:
            scores = cap * torch.tanh(scores / cap)
            out = scores.masked_fill(~mask, -torch.inf).softmax(-1) @ v
        else:
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out = out.transpose(0, 1).reshape(n, -1)
        scores = scores.masked_fill(~mask, -torch.inf)
        cases[name] = {
            "heads": [query, key_value, size],
            "scale": [scale],
            "softcap": [cap] if cap else [],
            "window": [window] if window else [],
            "starts": [s[0] for s in segments],
            "lengths": [s[1] for s in segments],
            "parents": [-1 if s[2] is None else s[2] for s in segments],
            "out": out,
            "log_sum_exp": scores.logsumexp(-1).transpose(0, 1),
            "grad_qkv": gradients(out, 2, qkv)[0],
        }
    return cases


def glu():
    cases = {}
    for name, activate in [("silu", F.silu), ("gelu_pytorch_tanh", ACT2FN["gelu_pytorch_tanh"])]:
        x = tensor(1, 4, 2 * 37, 8.0)
        gate, up = x.chunk(2, dim=1)
        y = activate(gate) * up
        cases[name] = {"shape": [4, 37], "y": y, "grad_x": gradients(y, 2, x)[0]}
    return cases


def head():
    cases = {}
    for name, m, d, v, temperature, cap in [
        ("odd", 7, 11, 53, 1.0, None),
        ("tempered", 5, 6, 40, 0.5, None),
        ("capped", 5, 9, 45, 0.5, 3.0),
    ]:
        hidden, weight = tensor(1, m, d, 2.0), tensor(2, d, v, 2.0)
        targets = [(5 * i + 3) % v for i in range(m)]
        logits = hidden @ weight
        logits = (cap * torch.tanh(logits / cap) if cap else logits) / temperature
        logprobs = logits.log_softmax(-1)[torch.arange(m), targets].reshape(1, m)
        grad_hidden, grad_weight = gradients(logprobs, 3, hidden, weight)
        cases[name] = {
            "shape": [m, d, v],
            "inverse_temperature": [1 / temperature],
            "softcap": [cap] if cap else [],
            "targets": targets,
            "logprobs": logprobs,
            "log_sum_exp": logits.logsumexp(-1),
            "grad_hidden": grad_hidden,
            "grad_weight": grad_weight,
        }
    return cases


def sample():
    cases = {}
    settings = [
        ("plain", 1.0, None, None),
        ("cool", 0.5, None, None),
        ("top_k", 1.0, 5, None),
        ("top_p", 0.7, None, 0.8),
        ("top_k then top_p", 1.5, 12, 0.6),
    ]
    for name, temperature, top_k, top_p in settings:
        logits = tensor(1, 3, 150, 8.0).detach()
        whole = torch.distributions.Categorical(logits=logits / temperature)
        kept = logits / temperature
        kept = TopKLogitsWarper(top_k)(None, kept) if top_k else kept
        kept = TopPLogitsWarper(top_p)(None, kept) if top_p else kept
        cases[name] = {
            "temperature": [temperature],
            "top_k": [top_k] if top_k else [],
            "top_p": [top_p] if top_p else [],
            "probabilities": kept.softmax(-1),
            "logprobs": whole.logits,
            "entropy": whole.entropy(),
        }
    return cases


def adamw():
    weight = torch.nn.Parameter(tensor(1, 3, 7).detach().float())
    optimizer = torch.optim.AdamW([weight], lr=0.01, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    for step in range(1, 6):
        weight.grad = tensor(1 + step, 3, 7).detach().float() * 0.25
        optimizer.step()
    state = optimizer.state[weight]
    return {
        "five steps": {"weight": weight, "first": state["exp_avg"], "second": state["exp_avg_sq"]}
    }


def flat(value):
    """A list of numbers, nine digits each."""
    if isinstance(value, torch.Tensor):
        value = value.detach().flatten().tolist()
    return [float(f"{x:.9g}") if isinstance(x, float) else x for x in value]


def main():
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for family in (linear, rms_norm, rope, attention, glu, head, sample, adamw):
        cases = {name: {k: flat(v) for k, v in case.items()} for name, case in family().items()}
        text = json.dumps(cases, separators=(",", ":"))
        (OUTPUT / f"{family.__name__}.json").write_text(text + "\n")


main()
