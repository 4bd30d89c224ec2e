#!/usr/bin/env bash
# Trains on several nodes under SLURM, one process for each GPU; JAX finds the processes by SLURM's own variables.
#
# start:   sbatch launch/slurm.sh --config=configs/cnn.py --workdir=/shared/runs/cnn
# watch:   tail -F faceflax-JOBID.log
# stop:    scancel --batch --signal=TERM JOBID            (saves first; without the options it does not)
# resume:  the command that started it: it goes on from the workdir's newest checkpoint
#
# Submit from the project's folder, on a disk that all nodes see, as the workdir's. A key for Weights & Biases comes from
# WANDB_API_KEY in the environment of sbatch; without one its mirror stays offline in the workdir.
#
#SBATCH --job-name=faceflax
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=faceflax-%j.log
set -euo pipefail

# A process that dies ends the others, which would wait for it. Those that were asked to stop leave together when all have
# saved. SIGTERM is no business of srun: it would kill them at once; SLURM brings it to each of them.
srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" "${PYTHON:-.venv/bin/python}" -m experiments.train "$@" &
step=$!
ending=
trap 'ending=yes; scancel --signal=TERM "$SLURM_JOB_ID" || true' TERM
while kill -0 "$step" 2>/dev/null; do
  wait "$step" || true # a signal ends the wait, not the step
done
status=0
wait "$step" || status=$?

# Who stops the job tells this script (ending). Before the time limit, and where preemption grants time, SLURM tells the
# processes alone: they have saved, status 143. Another signal is a crash; soon after the start it would come again.
if [[ -z $ending ]] && ((status == 143 || (status > 128 && SECONDS > 600))); then
  echo "status $status: queued again, to go on from the newest checkpoint"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
