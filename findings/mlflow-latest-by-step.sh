#!/usr/bin/env bash
# A training is killed at step 48 and goes on from its checkpoint at step 36, into the same run of MLflow. One expects the run's
# value of a metric to be the one that was written last, or that writing a step again replaces what was there. Neither is so:
# the history keeps both values of a step, in the order of time and not of steps, and the value of the run, by which tables sort
# and which search_runs compares, is that of the highest step. So until the training has passed step 48 again the table shows a
# loss of the branch that was lost, and at step 48 itself the later of the two. Logged without a step, all are at step 0.
# mlflow-skinny 3.17.2, store in SQLite. ganvas writes rows since the last checkpoint again, and says so. Exits with 1 if this is
# no longer so.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q mlflow-skinny==3.17.2 sqlalchemy==2.0.45 alembic==1.18.0
cd "$dir"
"$dir/env/bin/python" - <<'PY'
import logging
import sys
import time
from importlib.metadata import version

logging.disable(logging.WARNING)
from mlflow import MlflowClient
from mlflow.entities import Metric

print("mlflow-skinny", version("mlflow-skinny"), "sqlalchemy", version("sqlalchemy"), "alembic", version("alembic"))
client = MlflowClient("sqlite:///runs.db")
run = client.create_run(client.create_experiment("digits")).info.run_id


def log(step, loss):
    client.log_batch(run, metrics=[Metric("loss", loss, int(1000 * time.time()), step)])
    time.sleep(0.01)


def value():
    return client.get_run(run).data.metrics["loss"]


for step, loss in [(12, 4.0), (24, 3.0), (36, 2.0), (48, 9.0)]:
    log(step, loss)
log(36, 1.5)  # killed, and on from the checkpoint
at_36 = value()
log(48, 1.0)
at_48 = value()
history = [(it.step, it.value) for it in client.get_metric_history(run, "loss")]
found = client.search_runs([client.get_run(run).info.experiment_id], "metrics.loss > 5")
print("after 36 was written again, 1.5, the run's loss is", at_36)
print("after 48 was written again, 1.0, it is", at_48)
print("history:", history)
twice = [step for step in (36, 48) if sum(it[0] == step for it in history) == 2]
print("steps that are there twice:", twice)
sys.exit(not (at_36 == 9.0 and at_48 == 1.0 and twice == [36, 48] and not found))
PY
