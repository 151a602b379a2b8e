"""Serves a reward function as TRL's to enigma: python3 trl_shim.py FILE FUNCTION [--chat]."""
import json, os, runpy, sys

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the function prints goes to standard error
reward, is_chat = runpy.run_path(sys.argv[1])[sys.argv[2]], "--chat" in sys.argv
while line := sys.stdin.readline():
    rows = [json.loads(line)]
    rows += [json.loads(sys.stdin.readline()) for _ in range(rows[0]["batch_size"] - 1)]
    prompts, completions = ([row[key] for row in rows] for key in ("prompt", "completion"))
    if is_chat:
        turns = [[{"role": "user", "content": text}] for text in prompts]
        prompts = [row.get("messages", turn) for row, turn in zip(rows, turns)]
        completions = [[{"role": "assistant", "content": text}] for text in completions]
    names = {name for row in rows for name in row["fields"]}
    columns = {name: [row["fields"].get(name) for row in rows] for name in names}
    rewards = reward(prompts=prompts, completions=completions, **columns)
    for row, value in list(zip(rows, rewards, strict=True)):
        value = None if value is None else float(value)
        print(json.dumps({"id": row["id"], "reward": value}), file=answers, flush=True)
