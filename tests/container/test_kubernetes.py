"""The manifests of deploy/kubernetes: valid by the schemas of Kubernetes, and what they name is what the server has."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs import tables
from tests.container.dockerfile import ROOT, stages

from beholder.server.bounds import Bounds
from beholder.server.guard import OPEN
from beholder.server.metrics import Counts

FOLDER = ROOT / "deploy" / "kubernetes"
BASE = FOLDER / "base"
MANIFESTS = sorted({*BASE.glob("*.yaml"), *FOLDER.glob("prometheus/*.yaml")} - {BASE / "kustomization.yaml"})


VERSIONS = ["1.27", "1.36"]
"""Of the schemas that the manifests are held against."""


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return found


def named(name: str) -> dict[str, Any]:
    return read(BASE / f"{name}.yaml")


@pytest.fixture
def pod() -> dict[str, Any]:
    found: dict[str, Any] = named("deployment")["spec"]["template"]["spec"]
    return found


@pytest.fixture
def server(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["containers"]
    return dict(found)


@pytest.fixture(scope="module")
def image() -> Any:
    return stages((ROOT / "Dockerfile").read_text("utf-8"))[-1]


def check(manifest: dict[str, Any]) -> None:
    """Hold a manifest against the schemas of an old and a new Kubernetes, unknown fields refused."""
    validate = pytest.importorskip("kubernetes_validate").validate
    assert [validate(manifest, version, strict=True) for version in VERSIONS] == VERSIONS


@pytest.mark.parametrize("path", MANIFESTS, ids=[path.stem for path in MANIFESTS])
def test_each_manifest_is_valid(path: Path) -> None:
    check(read(path))


def test_a_misspelt_field_is_not_valid() -> None:
    validate = pytest.importorskip("kubernetes_validate")
    wrong = copy.deepcopy(named("deployment"))
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(validate.ValidationError):
        check(wrong)


@pytest.mark.parametrize("name", ["base", "baked"])
def test_what_kustomize_makes_of_it_is_valid(name: str) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl")
    made = subprocess.run(
        ["kubectl", "kustomize", FOLDER / name], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    found = {manifest["kind"]: manifest for manifest in yaml.safe_load_all(made)}
    for manifest in found.values():
        check(manifest)
    assert ("PersistentVolumeClaim" in found) == (name == "base")
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["image"].startswith("registry.example.org/beholder:")
    assert [mount["name"] for mount in container["volumeMounts"]] == (["tmp", "models"] if name == "base" else ["tmp"])


def test_every_file_is_part_of_it_and_the_image_is_of_this_version(server: dict[str, Any]) -> None:
    kustomization = named("kustomization")
    assert sorted(kustomization["resources"]) == [path.name for path in MANIFESTS if path.parent == BASE]
    (image,) = kustomization["images"]
    assert image["name"] == server["image"]
    assert image["newTag"] == tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]


def test_labels_find_the_pods_and_nothing_else() -> None:
    wanted = {"app.kubernetes.io/name": "beholder"}
    deployment = named("deployment")["spec"]
    assert deployment["selector"]["matchLabels"] == deployment["template"]["metadata"]["labels"] == wanted
    assert named("service")["spec"]["selector"] == wanted
    assert named("disruption")["spec"]["selector"]["matchLabels"] == wanted
    assert named("network")["spec"]["podSelector"]["matchLabels"] == wanted
    target = named("scaling")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", named("deployment")["metadata"]["name"])
    assert "replicas" not in deployment, "the autoscaler says how many there are"


def test_ports_are_that_of_the_image(server: dict[str, Any], image: Any) -> None:
    assert server["ports"] == [{"name": "http", "containerPort": int(image.one("EXPOSE"))}]
    assert [port["targetPort"] for port in named("service")["spec"]["ports"]] == ["http"]
    assert [port["port"] for port in named("network")["spec"]["ingress"][0]["ports"]] == ["http"]
    assert {server[probe]["httpGet"]["port"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")} == {"http"}


def test_probes_ask_paths_that_need_no_key(server: dict[str, Any]) -> None:
    asked = [server[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert asked == ["/healthz", "/healthz", "/readyz"]
    assert set(asked) <= set(OPEN)


def test_it_starts_what_the_image_starts_and_names_what_the_command_has(server: dict[str, Any], image: Any) -> None:
    params = tables.commands()["serve"].params
    assert server["args"][:1] == image.command("CMD")
    options = {word for word in server["args"] if word.startswith("--")}
    assert options <= {option for param in params for option in param.opts}
    assert named("service")["metadata"]["name"] == server["args"][server["args"].index("--allow-host") + 1]
    assert [variable["name"] for variable in server["env"]] == ["BEHOLDER_KEYS"]
    assert any("BEHOLDER_KEYS" in (param.help or "") for param in params)  # type: ignore[attr-defined]
    secret = server["env"][0]["valueFrom"]["secretKeyRef"]
    assert not secret.get("optional"), "without the secret it must not start"
    assert f"secret generic {secret['name']} --from-literal={secret['key']}=" in howto()


def howto() -> str:
    return (ROOT / "docs" / "howto" / "kubernetes.md").read_text("utf-8")


def test_it_may_do_no_more_than_it_needs(pod: dict[str, Any], server: dict[str, Any], image: Any) -> None:
    user, group = map(int, image.one("USER").split(":"))
    secured = pod["securityContext"]
    assert (secured["runAsNonRoot"], secured["runAsUser"], secured["runAsGroup"]) == (True, user, group)
    assert secured["seccompProfile"] == {"type": "RuntimeDefault"}
    assert server["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName"} & set(pod)
    writable = {mount["mountPath"] for mount in server["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {re.search(r"HOME=(\S+)", image.one("ENV"))[1]}  # type: ignore[index]
    assert {volume["name"] for volume in pod["volumes"]} == {mount["name"] for mount in server["volumeMounts"]}
    assert set(server["resources"]["limits"]) == {"cpu", "memory"}
    assert named("network")["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert named("network")["spec"]["egress"] == []


def test_the_bundle_is_read_from_the_claim(pod: dict[str, Any], server: dict[str, Any], image: Any) -> None:
    (claim,) = [volume["persistentVolumeClaim"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume]
    assert claim == {"claimName": named("claim")["metadata"]["name"], "readOnly": True}
    (mount,) = [mount for mount in server["volumeMounts"] if mount["name"] == "models"]
    assert server["args"][0].startswith(f"{mount['mountPath']}/")
    assert mount["readOnly"] is True


def test_where_the_bundle_is_baked_in_its_volume_is_what_goes(pod: dict[str, Any]) -> None:
    first, second = read(FOLDER / "baked" / "kustomization.yaml")["patches"]
    for step in yaml.safe_load(first["patch"]):
        assert step["op"] == "remove"
        found: Any = named("deployment")
        for word in step["path"].split("/")[1:]:
            found = found[int(word)] if isinstance(found, list) else found[word]
        assert found["name"] == "models"
    assert yaml.safe_load(second["patch"])["metadata"] == {"name": named("claim")["metadata"]["name"]}


def test_a_pod_has_time_to_answer_what_it_has(pod: dict[str, Any], server: dict[str, Any]) -> None:
    word, seconds = server["lifecycle"]["preStop"]["exec"]["command"]
    assert word == "sleep"
    assert pod["terminationGracePeriodSeconds"] > int(seconds) + Bounds().drain
    readiness = server["readinessProbe"]
    assert readiness["timeoutSeconds"] <= readiness["periodSeconds"]


def test_the_autoscaler_asks_for_a_gauge_that_the_server_has() -> None:
    (metric,) = named("scaling")["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    families = {family.name: family for family in Counts({}, None, lambda: 0).collect()}
    assert families[name].type == "gauge"
    (rule,) = yaml.safe_load(read(FOLDER / "prometheus" / "adapter.yaml")["data"]["config.yaml"])["rules"]
    assert rule["seriesQuery"].partition("{")[0] == name
    assert set(re.findall(r'(\w+)!=""', rule["seriesQuery"])) == set(rule["resources"]["overrides"]) == {"namespace", "pod"}
    assert "<<.Series>>" in rule["metricsQuery"]
    assert rule["metricsQuery"].startswith("sum("), "the models of a pod are added up"


def test_prometheus_reads_the_pods_with_a_key(server: dict[str, Any]) -> None:
    (job,) = yaml.safe_load(read(FOLDER / "prometheus" / "scrape.yaml")["data"]["beholder.yml"])["scrape_configs"]
    paths = json.dumps([job["metrics_path"], server["livenessProbe"]["httpGet"]["path"]])
    assert paths == '["/metrics", "/healthz"]'
    assert job["metrics_path"] not in OPEN
    assert set(job["authorization"]) == {"credentials_file"}
    kept = {rule["source_labels"][0]: rule["regex"] for rule in job["relabel_configs"] if rule.get("action") == "keep"}
    assert kept["__meta_kubernetes_pod_label_app_kubernetes_io_name"] == "beholder"
    assert kept["__meta_kubernetes_pod_container_port_name"] == server["ports"][0]["name"]
    assert {rule["target_label"] for rule in job["relabel_configs"] if "target_label" in rule} == {"namespace", "pod"}
