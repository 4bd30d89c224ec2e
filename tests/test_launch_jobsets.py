"""The Kubernetes JobSets of launch/: what the schemas say of them, and what they must agree on."""

import json
import math
import re
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests import tiny

LAUNCH = tiny.ROOT / "launch"
JOBSETS = sorted(LAUNCH.glob("*.yaml"))
SCHEMA = json.loads((Path(__file__).parent / "jobset_schema.json").read_text())
ids = lambda path: path.name  # noqa: E731


def _check_jobset(document):
    jsonschema.validate(document, SCHEMA)
    for each in document["spec"]["replicatedJobs"]:
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": each["name"]}, **each["template"]}
        kubernetes_validate.validate(job, "1.31", strict=True)


@pytest.mark.parametrize("path", JOBSETS, ids=ids)
def test_jobsets_fit_the_schemas(path):
    _check_jobset(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    ("part", "change"),
    [
        (lambda spec: spec, {"maxRestarts": 3}),
        (lambda spec: spec["failurePolicy"]["rules"][0], {"action": "Restart"}),
        (lambda spec: spec["replicatedJobs"][0]["template"]["spec"], {"completions": "two"}),
        (lambda spec: spec["replicatedJobs"][0]["template"]["spec"]["template"]["spec"], {"grace": 3}),
        (lambda spec: _container(spec), {"command": "python"}),
    ],
)
def test_the_schemas_refuse_what_is_wrong(part, change):
    document = yaml.safe_load(JOBSETS[0].read_text())
    part(document["spec"]).update(change)
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        _check_jobset(document)


def _container(spec):
    (container,) = spec["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"]
    return container


@pytest.mark.parametrize("path", JOBSETS, ids=ids)
def test_jobsets_restart_together_and_agree_with_themselves(path):
    document = yaml.safe_load(path.read_text())
    (each,) = document["spec"]["replicatedJobs"]
    job, pod = each["template"]["spec"], each["template"]["spec"]["template"]["spec"]
    assert each["replicas"] == 1 and job["completions"] == job["parallelism"] > 1
    assert (job["backoffLimit"], job["completionMode"], pod["restartPolicy"]) == (0, "Indexed", "Never")
    exits = [rule["onExitCodes"] for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    assert exits == [{"containerName": _container(document["spec"])["name"], "operator": "In", "values": [143]}]
    (rule,) = document["spec"]["failurePolicy"]["rules"]
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"] and "IgnoreMaxRestarts" in rule["action"]
    container = _container(document["spec"])
    names = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == names
    key = next(each for each in container["env"] if each["name"] == "WANDB_API_KEY")
    assert set(key) == {"name", "valueFrom"} and key["valueFrom"]["secretKeyRef"]["optional"]


def test_the_gpu_jobset_names_its_processes_as_the_set_names_its_pods():
    document = yaml.safe_load((LAUNCH / "jobset_gpu.yaml").read_text())
    (each,) = document["spec"]["replicatedJobs"]
    name = document["metadata"]["name"]
    env = {each["name"]: each.get("value", each.get("valueFrom")) for each in _container(document["spec"])["env"]}
    assert re.fullmatch(rf"{name}-{each['name']}-0-0\.{name}:\d+", env["JAX_COORDINATOR_ADDRESS"])
    assert int(env["JAX_NUM_PROCESSES"]) == each["template"]["spec"]["completions"]
    assert "job-completion-index" in env["JAX_PROCESS_ID"]["fieldRef"]["fieldPath"]


def test_the_tpu_jobset_has_a_pod_for_each_host_of_its_slice():
    document = yaml.safe_load((LAUNCH / "jobset_tpu.yaml").read_text())
    job = document["spec"]["replicatedJobs"][0]["template"]["spec"]
    topology = job["template"]["spec"]["nodeSelector"]["cloud.google.com/gke-tpu-topology"]
    chips = _container(document["spec"])["resources"]["limits"]["google.com/tpu"]
    assert math.prod(map(int, topology.split("x"))) == chips * job["completions"]
