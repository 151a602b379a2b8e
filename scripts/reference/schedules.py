"""Learning-rate factors of transformers' schedules, quoted in crates/trainer/src/schedule.rs.

Needs: pip install torch transformers. Prints one line a schedule: its name, its warm-up steps and
the learning rate (top 1.0) of steps 0 to 9 of 10.
"""

import torch
import transformers

STEPS = 10

for name in ("constant_with_warmup", "linear", "cosine"):
    for warmup in (0, 3):
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule = transformers.get_scheduler(name, optimiser, warmup, STEPS)
        rates = []
        for _ in range(STEPS):
            rates.append(schedule.get_last_lr()[0])
            optimiser.step()
            schedule.step()
        print(transformers.__version__, name, warmup, [round(rate, 10) for rate in rates])
