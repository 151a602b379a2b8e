#!/usr/bin/env python3
"""`enigma bench` beside TRL: the same work on the same cores, in turn, in fresh processes.

    cargo build --release
    python compare.py --python venv/bin/python        # a Python with requirements.txt installed

Runs each row `--runs` times on both sides, one after the other, and prints a Markdown table: medians
with their range, and the ratio of the medians with the range of the ratios pair by pair. Every object
that was printed is kept in `--out`. Needs a machine on which nothing else runs.

    --only "25m drawn"    the row of this name, else those whose name holds all these words; may be
                          repeated
    --all                 every row, not only those of the table of aims
    --quick               a trial of the tools: one run of very small batches
    --list                the names of the rows
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Repetitions that count in each run; drawn lengths differ, so they need more.
STEPS = {("3m", "maximum"): 2, ("3m", "drawn"): 3, ("25m", "maximum"): 1, ("25m", "drawn"): 2,
         ("135m", "maximum"): 1, ("135m", "drawn"): 1}
# Tokens that `enigma` computes at a time of all sizes but the smallest: the same gradient, less memory; the
# more so where a reference or a larger model takes its own.
SLICE, SMALL_SLICE = 2240, 1536


def grpo_row(size, lengths, beta=0.0, lora=0, prompts=4, default=False):
    words = ["grpo", size, lengths]
    words += [f"beta {beta}"] if beta else []
    words += [f"lora {lora}"] if lora else []
    words += [f"prompts {prompts}"] if prompts != 4 else []
    shared = ["--prompts", prompts, "--lengths", lengths, "--beta", beta, "--lora", lora,
              "--steps", STEPS[size, lengths]]
    aims = {}
    if size in ("3m", "25m") and not lora and prompts == 4:
        # Both draw their own lengths, so of those the speed is that of a token.
        aims.update({"step_s": 3.5} if lengths == "maximum" else {"new_tokens_per_s": 6.0})
    if size == "25m" and not lora and prompts == 4:
        aims["peak_mib"] = 5.0
    metrics = ["step_s", "new_tokens_per_s", "mean_new_tokens", "rollout_s", "scoring_s", "update_s", "peak_mib", "launch_to_first_token_s"]
    slice_tokens = SMALL_SLICE if beta or size == "135m" else SLICE
    return dict(name=" ".join(words), default=default, part="grpo", size=size, shared=shared,
                enigma=[] if size == "3m" else ["--micro-batch-tokens", slice_tokens], metrics=metrics, aims=aims)


def part_row(name, part, size, shared, enigma=(), aim=None, limit=None, metrics=("step_s", "peak_mib"),
             default=True):
    return dict(name=name, default=default, part=part, size=size, shared=shared, enigma=list(enigma),
                metrics=list(metrics), aims={"step_s": aim} if aim else {}, limit=limit)


def rows():
    found = [grpo_row(size, lengths, beta, lora, default=not beta and not lora)
             for size in ("3m", "25m") for lengths in ("maximum", "drawn")
             for beta in (0.0, 0.04) for lora in (0, 16)]
    found.append(grpo_row("3m", "maximum", prompts=32))
    found.append(grpo_row("135m", "maximum"))
    found.append(grpo_row("135m", "drawn"))
    found.append(part_row("decode 25m batch 64", "decode", "25m", ["--prompts", 8, "--steps", 1], aim=2.5,
                          metrics=["step_s", "new_tokens_per_s", "peak_mib", "launch_to_first_token_s"]))
    found.append(part_row("update 25m", "update", "25m", ["--steps", 1], aim=2.5, limit=0.7))
    found.append(part_row("update 25m prompts apart", "update", "25m", ["--steps", 1],
                          enigma=["--separate-prompts"], aim=1.5))
    return found


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--enigma", default=str(HERE.parents[1] / "target/release/enigma"))
    parser.add_argument("--python", default=sys.executable, help="has requirements.txt installed")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--out", default="compare.json")
    return parser.parse_args()


def chosen(args):
    if args.only:
        whole = [row for row in rows() if row["name"] in args.only]
        words = [only.split() for only in args.only if only not in [row["name"] for row in whole]]
        return whole + [row for row in rows() if row not in whole and any(
            all(word in row["name"].split() for word in some) for some in words)]
    return [row for row in rows() if row["default"] or args.all]


def cores(threads):
    """The first cores of this process; both sides are held to them."""
    return sorted(os.sched_getaffinity(0))[:threads]


def run(command, threads):
    """What a command prints last, as an object, in a fresh process on these cores."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    start = time.monotonic()
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, env=environment,
        preexec_fn=lambda: os.sched_setaffinity(0, cores(threads)))
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-20:])
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{tail}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return dict(found, process_s=time.monotonic() - start)


def commands(row, args):
    shared = list(row["shared"])
    if args.quick:
        shared += ["--prompts", 2, "--group", 2, "--prompt-tokens", 8, "--new-tokens", 16, "--steps", 1]
    # Of an option that is given twice, the last counts; enigma wants each once.
    given = dict(zip(shared[::2], shared[1::2]))
    if row["part"] != "grpo":
        given.pop("--beta", None)
    size = "3m" if args.quick else row["size"]
    shared = [word for pair in given.items() for word in pair] + ["--threads", args.threads]
    ours = [args.enigma, "bench", row["part"], "--shape", size, *shared, *row["enigma"], "--json"]
    theirs = [args.python, HERE / "trl_peer.py", row["part"], "--size", size, *shared]
    return ours, theirs


def value(found, metric):
    figure = found.get(metric)
    return figure["median"] if isinstance(figure, dict) else figure


def shown(values):
    if any(v is None for v in values):
        return "–"
    middle = statistics.median(values)
    digits = 0 if middle >= 100 else 2 if middle >= 1 else 3
    return f"{middle:.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def ratio(ours, theirs, metric):
    """How many times better ours is: theirs / ours of times and memory, ours / theirs of rates."""
    return ours / theirs if metric.endswith("per_s") else theirs / ours


def lines(row, pairs):
    """The lines of a row: name, ours, theirs, ratio with its range, aim and whether it is met."""
    for metric in row["metrics"]:
        ours, theirs = ([value(pair[side], metric) for pair in pairs] for side in (0, 1))
        cells = [row["name"], metric, shown(ours), shown(theirs)]
        if metric == "mean_new_tokens":
            if "drawn" in row["name"]:
                yield cells + ["", "", ""]
            continue
        if None in ours + theirs or min(ours) < 1e-4 or min(theirs) < 1e-4:
            yield cells + ["–", "", ""]
            continue
        middle = ratio(statistics.median(ours), statistics.median(theirs), metric)
        each = [ratio(a, b, metric) for a, b in zip(ours, theirs)]
        aim, verdict = row["aims"].get(metric), ""
        if metric == "launch_to_first_token_s":
            aim, verdict = "0.5 s", "yes" if statistics.median(ours) <= 0.5 else "no"
        elif aim:
            verdict = "yes" if middle >= aim else "no"
        cells.append(f"{middle:.2f} ({min(each):.2f}–{max(each):.2f})")
        yield cells + [str(aim or ""), verdict]
    if row.get("limit"):
        part = "share_of_matrix_product"
        shares = [pair[0][part]["step"] for pair in pairs]
        met = "yes" if statistics.median(shares) >= row["limit"] else "no"
        yield [row["name"], part, shown(shares), "–", "–", f"{row['limit']}", met]


def processor():
    try:
        models = [line for line in open("/proc/cpuinfo") if line.startswith("model name")]
        return models[0].split(":", 1)[1].strip()
    except (OSError, IndexError):
        return platform.processor()


def main():
    args = arguments()
    wanted = chosen(args)
    if args.list or not wanted:
        print("\n".join(f"{row['name']}{'' if row['default'] else '   (with --all or --only)'}"
                        for row in rows()))
        sys.exit(0 if args.list else "no row has all the words of --only; expected some of the above")
    runs = 1 if args.quick else args.runs
    machine = {"processor": processor(), "cores": cores(args.threads), "threads": args.threads,
               "system": platform.platform(), "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    kept = {"machine": machine, "rows": []}
    head = ["row", "figure", "enigma", "TRL", "ratio", "aim", "met"]
    print(f"{machine['processor']}, {args.threads} threads, {runs} alternating runs, median (min–max)\n")
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    peers = {}  # two rows may stand beside the same runs of the peer
    for row in wanted:
        pairs = []
        for index in range(runs):
            ours, theirs = commands(row, args)
            print(f"{row['name']}: run {index + 1} of {runs}", file=sys.stderr, flush=True)
            ours, key = run(ours, args.threads), (index, *map(str, theirs))
            if key not in peers:
                peers[key] = run(theirs, args.threads)
            pairs.append((ours, peers[key]))
        commands_shown = [" ".join(map(str, side)) for side in commands(row, args)]
        kept["rows"].append({"name": row["name"], "commands": commands_shown, "runs": pairs})
        Path(args.out).write_text(json.dumps(kept, indent=1))
        for cells in lines(row, pairs):
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
