#!/usr/bin/env python3
"""How time and memory of a step grow, each beside the law that it should follow.

    cargo build --release
    python benches/growth.py --out docs/performance

Runs `enigma bench grpo` in fresh processes over the group (4 to 64), the prompt (64 to 2048), the
completions (64 to 1024) and the parameters (3M to 135M), each alone, and writes `growth.md`, a table
a sweep, `growth.svg`, and `growth.json` with every object that was printed. Needs a machine on which
nothing else runs. `--quick` is a trial of the tool at very small sizes.

The laws. Operations are counted (`model::Pass`): each prompt once, attention by pairs of query and
key. A time that follows them has the same seconds an operation at both ends. Memory is linear in the
tokens of a batch: the slope between neighbours stays what it is, and does not follow the vocabulary.
"""
import argparse
import json
import math
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VOCABULARY = {"3m": 512, "25m": 4096, "135m": 49152}
#        name, its option, values, what stays
SWEEPS = [
    ("group", "--group", [4, 8, 16, 32, 64], {}),
    ("prompt tokens", "--prompt-tokens", [64, 128, 256, 512, 1024, 2048], {"--new-tokens": 64}),
    ("new tokens", "--new-tokens", [64, 128, 256, 512, 1024], {"--prompts": 2}),
    ("parameters", "--shape", ["3m", "25m", "135m"], {"--prompts": 2, "--new-tokens": 32}),
]
USUAL = {"--shape": "3m", "--prompts": 4, "--group": 8, "--prompt-tokens": 96, "--new-tokens": 128,
         "--micro-batch-tokens": 1 << 30}
TRIAL = {"--shape": "3m", "--prompts": 2, "--group": 2, "--prompt-tokens": 8, "--new-tokens": 16,
         "--micro-batch-tokens": 1 << 30}
QUICK = {"--group": [2, 4], "--prompt-tokens": [8, 16], "--new-tokens": [8, 16], "--shape": ["3m"]}


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--enigma", default=str(ROOT / "target/release/enigma"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


def run(options, args):
    command = [args.enigma, "bench", "grpo", "--json", "--threads", args.threads, "--steps", args.steps]
    command += [word for pair in options.items() for word in pair]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def point(name, setting, found):
    """The figures of one run, by what they are told of."""
    tokens = found["sequences"] * found["mean_new_tokens"]
    computed = found["prompts"] * found["prompt_tokens"] + tokens - found["sequences"]
    step = found["step_s"]["median"]
    return {
        "sweep": name, "x": setting, "step_s": step,
        "rollout_us_a_token": 1e6 * found["rollout_s"]["median"] / tokens,
        "step_us_a_token": 1e6 * step / tokens,
        "gflop": found["model_flops_per_s"]["step"] * step / 1e9,
        "ps_a_flop": 1e12 / found["model_flops_per_s"]["step"],
        "attention": found["attention_share_of_flops"],
        "computed_tokens": computed, "peak_mib": found["peak_mib"], "planned_mib": found["planned_mib"],
        "logits_mib": computed * VOCABULARY[found["size"]] * 4 / 2**20,
    }


def verdict(name, points):
    """What the law of a sweep says of its ends."""
    first, last = points[0], points[-1]
    more = last["computed_tokens"] - first["computed_tokens"]
    slope = 2**10 * (last["peak_mib"] - first["peak_mib"]) / more if more else None
    ends = last["ps_a_flop"] / first["ps_a_flop"]
    told = [f"Time an operation, last over first: {ends:.2f}."]
    if name == "group":
        flat = [p["step_us_a_token"] / first["step_us_a_token"] for p in points]
        told.append(f"Time a generated token over that of the smallest group: {min(flat):.2f} to "
                    f"{max(flat):.2f} (aim: at most 1.15).")
    if slope is not None and name != "parameters":
        slopes = [2**10 * (b["peak_mib"] - a["peak_mib"]) / (b["computed_tokens"] - a["computed_tokens"])
                  for a, b in zip(points, points[1:])]
        planned = 2**10 * (last["planned_mib"] - first["planned_mib"]) / more
        told.append(f"Memory a computed token: {slope:.1f} KiB between the ends, {min(slopes):.1f} to "
                    f"{max(slopes):.1f} between neighbours; planned, without a row of the vocabulary: "
                    f"{planned:.1f}.")
    return " ".join(told)


COLUMNS = [  # head, key, digits
    ("computed tokens", "computed_tokens", 0), ("s a step", "step_s", 3),
    ("rollout, µs a token", "rollout_us_a_token", 1), ("step, µs a token", "step_us_a_token", 1),
    ("GFLOP a step", "gflop", 1), ("ps a FLOP", "ps_a_flop", 2), ("peak MiB", "peak_mib", 0),
    ("planned MiB", "planned_mib", 0), ("tokens × vocabulary, MiB", "logits_mib", 0),
]


def table(name, points):
    heads = [name] + [head for head, _, _ in COLUMNS] + ["attention"]
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for p in points:
        cells = [f"{p[key]:.{digits}f}" for _, key, digits in COLUMNS]
        yield f"| {p['x']} | {' | '.join(cells)} | {100 * p['attention']:.0f} % |"


def svg(sweeps):
    """A panel a sweep: seconds a step and MiB over the growing size, both by their logarithm, the
    law of operations dashed through the first point."""
    width, height, pad = 300, 240, 46
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width * len(sweeps)}" height="{height}" '
             'font-family="sans-serif" font-size="11">',
             f'<rect width="{width * len(sweeps)}" height="{height}" fill="white"/>']
    for index, (name, points) in enumerate(sweeps):
        sizes = [p["computed_tokens"] if name == "parameters" else p["x"] for p in points]
        sizes = [p["gflop"] for p in points] if name == "parameters" else sizes
        law = [points[0]["step_s"] * p["gflop"] / points[0]["gflop"] for p in points]
        curves = [("s a step", "#0072b2", "", [p["step_s"] for p in points]),
                  ("by operations", "#0072b2", "4 3", law),
                  ("peak GiB", "#d55e00", "", [p["peak_mib"] / 1024 for p in points])]
        every = [v for _, _, _, values in curves for v in values]
        low, high = math.log(min(every)), math.log(max(every))
        left, right = math.log(min(sizes)), math.log(max(sizes))

        def place(x, y):
            across = (math.log(x) - left) / (right - left or 1)
            up = (math.log(y) - low) / (high - low or 1)
            return (index * width + pad + across * (width - pad - 28),
                    height - pad - up * (height - 2 * pad))

        label = "GFLOP a step, 3M to 135M" if name == "parameters" else name
        parts.append(f'<text x="{index * width + width / 2}" y="{height - 8}" text-anchor="middle">'
                     f'{label}</text>')
        for x in (sizes[0], sizes[-1]):
            parts.append(f'<text x="{place(x, math.exp(low))[0]:.1f}" y="{height - pad + 16}" '
                         f'text-anchor="middle">{x:.4g}</text>')
        for y in (math.exp(low), math.exp(high)):
            parts.append(f'<text x="{index * width + pad - 6}" y="{place(sizes[0], y)[1] + 4:.1f}" '
                         f'text-anchor="end">{y:.2g}</text>')
        for row, (curve, colour, dashes, values) in enumerate(curves):
            path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in zip(sizes, values))
            dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashed}/>')
            parts.append(f'<text x="{index * width + pad + (0, 66, 168)[row]}" y="18" fill="{colour}">'
                         f'{"- - " if dashes else ""}{curve}</text>')
    return "\n".join(parts + ["</svg>"]) + "\n"


def main():
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    kept, sweeps = [], []
    text = ["# How a step grows", "", "Written by `benches/growth.py`, whose header says what the laws "
            "are; [a figure](growth.svg).", ""]
    for name, option, values, fixed in SWEEPS:
        points = []
        for setting in QUICK[option] if args.quick else values:
            options = {**(TRIAL if args.quick else {**USUAL, **fixed}), option: setting}
            print(f"{name} {setting}", file=sys.stderr, flush=True)
            found = run(options, args)
            kept.append(found)
            points.append(point(name, setting, found))
        sweeps.append((name, points))
        stays = ", ".join(f"`{key} {options[key]}`" for key in options if key != option)
        text += [f"## {name.capitalize()}", "", f"With {stays}.", "", *table(name, points), "",
                 verdict(name, points), ""]
        (args.out / "growth.md").write_text("\n".join(text))
        (args.out / "growth.json").write_text(json.dumps(kept, indent=1))
    (args.out / "growth.svg").write_text(svg(sweeps))


if __name__ == "__main__":
    main()
