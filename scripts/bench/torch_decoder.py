#!/usr/bin/env python3
"""Seconds of a training step and of decoding in PyTorch eager: the peer of crates/model/benches/decoder.rs.

    pip install torch==2.13.0 transformers==5.23.0
    OMP_NUM_THREADS=2 python scripts/bench/torch_decoder.py --shape 25m

A Llama with random weights of the named shape. Training: 16 sequences of 128 tokens, mean log-probability
of every next token, backward, clipping, AdamW. Decoding: 16 prompts of 96 tokens, 128 drawn tokens each, with
a cache of keys and values. Prints one JSON object: median seconds and tokens a second, peak MiB.
"""
import argparse
import json
import resource
import statistics
import time

import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

SHAPES = {  # hidden, layers, heads, kv heads, intermediate, vocabulary
    "3m": (192, 6, 6, 2, 512, 512),
    "25m": (512, 8, 8, 4, 1408, 4096),
}


def train(model, ids, steps):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, weight_decay=0.0)
    seconds = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        logits = model(ids).logits[:, :-1]
        logprobs = torch.log_softmax(logits, -1).gather(-1, ids[:, 1:, None])
        (-logprobs.mean()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


@torch.no_grad()
def decode(model, prompts, new_tokens):
    start = time.perf_counter()
    cache = DynamicCache(config=model.config)
    logits = model(prompts, past_key_values=cache, logits_to_keep=1).logits[:, -1]
    for _ in range(new_tokens):
        probabilities = logits.softmax(-1)
        token = torch.multinomial(probabilities, 1)
        probabilities.gather(-1, token).log()
        logits = model(token, past_key_values=cache).logits[:, -1]
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", choices=SHAPES, default="25m")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--part", choices=["train", "decode", "both"], default="both")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    hidden, layers, heads, kv, inner, vocabulary = SHAPES[args.shape]
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=vocabulary, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=kv, intermediate_size=inner, max_position_embeddings=1024,
        tie_word_embeddings=True))
    result = {"peer": "torch", "shape": args.shape}
    if args.part != "train":
        model.eval()
        prompts = torch.randint(0, vocabulary, (16, 96))
        decode(model, prompts, 8)
        seconds = statistics.median(decode(model, prompts, 128) for _ in range(max(1, args.steps // 2)))
        result["decode_tokens_per_second"] = 16 * 128 / seconds
    if args.part != "decode":
        model.train()
        result["train_s"] = statistics.median(train(model, torch.randint(0, vocabulary, (16, 128)), args.steps))
    result["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result))


if __name__ == "__main__":
    main()
