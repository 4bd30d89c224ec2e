#!/usr/bin/env bash
# Trains on all workers of a TPU VM slice.
#
# install: TPU=my-slice ZONE=us-east5-a bash launch/tpu_vm.sh install
# start:   TPU=my-slice ZONE=us-east5-a bash launch/tpu_vm.sh start --config=configs/cnn.py --workdir=/mnt/runs/cnn
# watch:   TPU=my-slice ZONE=us-east5-a bash launch/tpu_vm.sh watch
# stop:    TPU=my-slice ZONE=us-east5-a bash launch/tpu_vm.sh stop            (saves first)
# resume:  the command that started it: it goes on from the workdir's newest checkpoint
#
# The workdir must be on a disk that all workers have mounted. A key for Weights & Biases is read from Secret Manager, by
# each worker: WANDB_SECRET is the secret's name. Without one the mirror stays offline in the workdir.
set -euo pipefail

# Ends with the run's status. A run that fails is started again, with those of the other workers, which fail with it.
worker() {
  local endpoints count other attempts=10 status=0
  other=$(cat faceflax.pid 2>/dev/null || true)
  if [[ -n $other ]] && grep --quiet --no-messages tpu_vm.sh "/proc/$other/cmdline"; then
    echo "error: a run is under way here already, as process $other; stop it first" >&2
    return 1
  fi
  echo $$ >faceflax.pid
  trap 'rm -f faceflax.pid' EXIT
  endpoints=$(metadata worker-network-endpoints) # names, or NAME:ID:ADDRESS, with commas between
  count=$(tr ',' '\n' <<<"$endpoints" | grep -c .)
  if ((count > 1)); then
    local first=${endpoints%%,*} index
    index=$(metadata agent-worker-number)
    local address="${first##*:}:${JAX_COORDINATOR_PORT:-8476}"
    export JAX_COORDINATOR_ADDRESS="$address" JAX_NUM_PROCESSES="$count" JAX_PROCESS_ID="$index"
  fi
  if [[ -n ${WANDB_SECRET:-} ]]; then
    WANDB_API_KEY=$(gcloud secrets versions access latest --secret="$WANDB_SECRET")
    export WANDB_API_KEY
  fi
  while ((attempts--)); do
    status=0
    train "$@" || status=$?
    case $status in 0 | 2 | 130 | 143) break ;; esac # complete, refused, or asked to stop
    echo "status $status: $attempts more attempts"
    sleep "${RESTART_DELAY:-30}"
  done
  return "$status"
}

# Runs the training, and passes SIGTERM on to it.
train() {
  local run
  "${PYTHON:-.venv/bin/python}" -m experiments.train "$@" &
  run=$!
  trap 'kill -TERM "$run"' TERM
  while kill -0 "$run" 2>/dev/null; do
    wait "$run" || true # a signal ends the wait, not the run
  done
  trap - TERM
  wait "$run"
}

metadata() {
  curl --silent --show-error --fail --header 'Metadata-Flavor: Google' \
    "http://metadata.google.internal/computeMetadata/v1/instance/attributes/$1"
}

on_workers() {
  gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker="$1" --command="$2"
}

action=${1:-}
shift || true
case $action in
  install)
    archive=$(mktemp --suffix=.tar.gz)
    trap 'rm -f "$archive"' EXIT
    git archive --prefix=faceflax/ --output="$archive" HEAD
    gcloud compute tpus tpu-vm scp "$archive" "$TPU:faceflax.tar.gz" --zone="$ZONE" --worker=all
    on_workers all "tar xzf faceflax.tar.gz && cd faceflax && sudo apt-get -qq install --yes python3.11-venv &&
      python3.11 -m venv .venv &&
      .venv/bin/pip install --quiet --constraint constraints.txt --editable '.[tpu]'"
    ;;
  start)
    on_workers all "cd faceflax && WANDB_SECRET=$(printf %q "${WANDB_SECRET:-}") nohup setsid \
      bash launch/tpu_vm.sh worker $(printf '%q ' "$@")>>faceflax.log 2>&1 </dev/null &"
    ;;
  watch) on_workers 0 "tail -F faceflax/faceflax.log" ;;
  stop) on_workers all "xargs kill -TERM <faceflax/faceflax.pid" ;;
  worker) worker "$@" ;;
  *)
    echo "error: say install, start, watch or stop; the file's first lines tell how" >&2
    exit 1
    ;;
esac
