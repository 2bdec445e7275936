"""The Kubernetes work pool on a real Prefect server, and the job that its worker would ask a cluster for."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.flows.conftest import api

pytestmark = pytest.mark.box

FOLDER = Path(__file__).parents[2] / "infra/kubernetes"
POOL = FOLDER / "work-pool.json"


@pytest.fixture(scope="module")
def pool(server: dict[str, str]) -> dict[str, Any]:
    """The template, created as docs/operations.md says and read back."""
    create = [
        "work-pool",
        "create",
        "on-kubernetes",
        "--type",
        "kubernetes",
        "--base-job-template",
        str(POOL),
    ]
    command = [sys.executable, "-m", "prefect", "--no-prompt", *create]
    subprocess.run(command, env=server, check=True, capture_output=True)
    found = api("read_work_pool", "on-kubernetes")
    assert found.type == "kubernetes"
    template: dict[str, Any] = found.base_job_template
    return template


def job(template: dict[str, Any], **variables: Any) -> dict[str, Any]:
    """The manifest for a run whose deployment sets `variables`."""
    from prefect.client.schemas.objects import FlowRun
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    async def prepared() -> KubernetesWorkerJobConfiguration:
        found = await KubernetesWorkerJobConfiguration.from_template_and_values(template, variables)
        found.prepare_for_flow_run(FlowRun(name="a-run", flow_id="6b8e7f0e-3b0e-4f0e-9d5e-3a1d2c4b5a69"))
        return found

    manifest: dict[str, Any] = asyncio.run(prepared()).job_manifest
    return manifest


def test_the_server_keeps_the_template(pool: dict[str, Any]) -> None:
    assert pool == json.loads(POOL.read_text())


def test_a_run_is_a_job_that_may_do_little(pool: dict[str, Any]) -> None:
    manifest = job(pool)
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert manifest["metadata"]["namespace"] == "slimstream" and pod["restartPolicy"] == "Never"
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 1000
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 0
    assert container["envFrom"] == [
        {"configMapRef": {"name": "slimstream"}},
        {"secretRef": {"name": "slimstream"}},
    ]
    claim = {"name": "project", "persistentVolumeClaim": {"claimName": "slimstream"}}
    assert claim in pod["volumes"] and container["workingDir"] == "/srv/slimstream"
    assert {mount["name"] for mount in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}


def test_a_deployment_may_ask_for_gpus_and_another_volume(pool: dict[str, Any]) -> None:
    pod = job(pool, gpu_limit=2, volume_claim="other", memory_limit="32Gi")["spec"]["template"]["spec"]
    limits = pod["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == 2 and limits["memory"] == "32Gi"
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == "other"


def test_the_worker_meets_its_runs_in_the_same_place(pool: dict[str, Any]) -> None:
    documents = [*yaml.safe_load_all((FOLDER / "worker.yaml").read_text())]
    documents += yaml.safe_load_all((FOLDER / "deploy.yaml").read_text())
    told = next(d["data"] for d in documents if d["kind"] == "ConfigMap")
    run = job(pool)["spec"]["template"]["spec"]
    pods = [d["spec"]["template"]["spec"] for d in documents if d["kind"] in ("Deployment", "Job")]
    assert len(pods) == 2
    for pod in pods:
        (container,) = pod["containers"]
        assert container["envFrom"] == run["containers"][0]["envFrom"]
        assert container["workingDir"] == run["containers"][0]["workingDir"]
        assert pod["volumes"] == run["volumes"][:2] and pod["securityContext"] == run["securityContext"]
        assert container["image"] == run["containers"][0]["image"]
    assert told["PYTHONPATH"] == f"{run['containers'][0]['workingDir']}/src"
    lines = (FOLDER / ".env.example").read_text().splitlines()
    assert not [line for line in lines if "PASSWORD=" in line and not line.endswith("=")]
