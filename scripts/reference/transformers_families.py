#!/usr/bin/env python3
"""Trains a tiny random model of every family for some steps and opens each checkpoint in transformers.

    pip install torch==2.13.0 transformers==5.23.0 tokenizers
    cargo build --release
    python scripts/reference/transformers_families.py [--enigma target/release/enigma]

The models are those of transformers_models.py, with a tokenizer of single letters beside them. Each
is given to `enigma sft` for three steps; its checkpoint is compared as transformers_checkpoint.py
does. Prints a line a model and exits 1 if one differs.
"""
import argparse
import json
import pathlib
import string
import subprocess
import sys
import tempfile

from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from transformers_checkpoint import differs
from transformers_models import FAMILIES


def letters():
    """A token a letter, 39 to end a text."""
    vocabulary = {letter: i for i, letter in enumerate(string.ascii_lowercase + " .,:;?!")}
    vocabulary |= {"<unknown>": len(vocabulary)}
    while len(vocabulary) < 39:
        vocabulary[f"<{len(vocabulary)}>"] = len(vocabulary)
    vocabulary["<end>"] = 39
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--enigma", default="target/release/enigma")
    args = parser.parse_args()
    failed = []
    # No text ends within the three tokens up to which this one turns by its short factors.
    tested = {name: model for name, model in FAMILIES.items() if name != "phi3_long"}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        words = ["a tiny text", "more of it, and then the end", "what is this? a test."]
        rows = [{"prompt": word[:5], "completion": word[5:]} for word in words]
        (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n")
        for name, (family, config) in tested.items():
            model = folder / name
            family(config).float().save_pretrained(model)
            letters().save_pretrained(model)
            (model / "generation_config.json").unlink(missing_ok=True)
            (folder / f"{name}.toml").write_text(
                f'[model]\npath = "{model}"\nchat_template = "plain"\n'
                f'[data]\nexamples = "{folder}/rows.jsonl"\n[optimizer]\nlearning_rate = 1e-2\n'
                "[run]\nmax_steps = 3\nper_device_train_batch_size = 3\n")
            command = [args.enigma, "sft", str(folder / f"{name}.toml"), "--json",
                       "--out", str(folder / f"{name}-run")]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stderr)
            checkpoint = json.loads(done.stdout)["checkpoint"]
            if differs(checkpoint, args.enigma):
                failed.append(name)
    print(f"{len(tested)} models, different: {', '.join(failed) or 'none'}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
