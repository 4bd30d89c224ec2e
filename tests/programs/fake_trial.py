"""A training in the eyes of a sweep, without its cost: flags in, metrics.jsonl out, taken up again where it was.

Flags: --workdir; --x and --y, of which the metric is made; --fail, how often it fails, and --status, how that ends;
--seconds, for each evaluation. It fails, too, beside a trial that sees the same GPU.
"""

import argparse
import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path

EVALUATIONS = 4

parser = argparse.ArgumentParser()
parser.add_argument("--workdir", type=Path)
parser.add_argument("--x", type=float)
parser.add_argument("--y", type=float, default=0.0)
parser.add_argument("--fail", type=int, default=0)
parser.add_argument("--status", type=int, default=1)
parser.add_argument("--seconds", type=float, default=0.0)
options = parser.parse_args()
stopped = []
signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
options.workdir.mkdir(exist_ok=True)
gpu = os.environ.get("CUDA_VISIBLE_DEVICES", options.workdir.name)
with (options.workdir / ".lock").open("w") as lock, (options.workdir.parent / f"gpu-{gpu}").open("w") as device:
    for file in (lock, device):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    starts = options.workdir / "starts.txt"
    with starts.open("a") as file:
        file.write(f"{os.environ.get('WANDB_RUN_GROUP')} {os.environ.get('WANDB_RUN_ID')}\n")
    others = [name for name in ("SLURM_NTASKS", "JAX_NUM_PROCESSES") if name in os.environ]
    (options.workdir / "processes.txt").write_text(" ".join(others))
    if len(starts.read_text().splitlines()) <= options.fail:
        print("this trial fails")
        sys.exit(options.status)
    metrics = options.workdir / "metrics.jsonl"
    done = len(metrics.read_text().splitlines()) if metrics.exists() else 0
    for evaluation in range(done + 1, EVALUATIONS + 1):
        time.sleep(options.seconds)
        if stopped:
            sys.exit(128 + signal.SIGTERM)
        with metrics.open("a") as file:
            file.write(json.dumps({"step": evaluation, "eval/psnr": options.x * evaluation + options.y}) + "\n")
    if done < EVALUATIONS:  # a training that is complete already is not done again
        with (options.workdir / "completions.txt").open("a") as file:
            file.write("done\n")
