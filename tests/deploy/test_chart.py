"""The Helm chart: valid objects, nothing open that is to be closed, and mistakes in values named."""

import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_store.serving.launch import environment
from service.settings import PREFIX, Settings
from tests.deploy.promql import declared_series
from tests.deploy.rendered import CHART, NAME, ROOT, Rendered, accepts, helm, may_open, render, selects, values

CASES = {"demo": ("demo",), "cluster": ("cluster",), "autoscaled": ("cluster", "autoscaled")}
KUBERNETES = ("1.30", "1.35")
"""The oldest version that Chart.yaml names, and a recent one."""
CUSTOM = {"ServiceMonitor", "PrometheusRule", "ScaledObject"}
"""Kinds of operators; Kubernetes' own schemas do not describe them."""


@pytest.fixture(scope="module", params=CASES)
def rendered(request: pytest.FixtureRequest) -> Rendered:
    return render(values(*CASES[request.param]))


@pytest.fixture(scope="module")
def cluster() -> Rendered:
    return render(values("cluster"))


def labels(component: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "tastestream",
        "app.kubernetes.io/instance": "shop",
        "app.kubernetes.io/component": component,
    }


@pytest.mark.parametrize("case", CASES)
def test_helm_finds_no_fault(case: str) -> None:
    report = helm.lint(CHART, values(*CASES[case]), strict=True, kube_version="v1.30.0")
    assert [one for one in report["messages"] if one["severity"] > 1] == []
    assert report["errors"] == []


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_object_is_valid(rendered: Rendered, version: str) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="`make deploy-tools` installs kubernetes-validate")
    kinds = {one["kind"] for one in rendered.objects}
    assert {"Deployment", "StatefulSet", "Service", "NetworkPolicy", "PodDisruptionBudget"} <= kinds
    for one in rendered.objects:
        if one["kind"] not in CUSTOM:
            validator.validate(one, version, strict=True)


def test_a_cluster_has_the_replicas_that_were_asked_for(cluster: Rendered) -> None:
    assert cluster.get("Deployment", "gateway")["spec"]["replicas"] == 3
    assert cluster.get("Deployment", "worker")["spec"]["replicas"] == 4
    assert cluster.get("StatefulSet", "ranker-blue")["spec"]["replicas"] == 2
    assert cluster.environment("Deployment", "gateway")["TASTESTREAM_REDIS_URL"] == "secret:tastestream-redis"


def test_gateways_know_each_replica_of_the_active_ranker_by_its_own_name(cluster: Rendered) -> None:
    service, owner = cluster.get("Service", "ranker-blue"), cluster.get("StatefulSet", "ranker-blue")
    assert (service["spec"]["clusterIP"], owner["spec"]["serviceName"]) == ("None", service["metadata"]["name"])
    expected = [f"http://{NAME}-ranker-blue-{n}.{NAME}-ranker-blue:8000" for n in range(2)]
    assert cluster.environment("Deployment", "gateway")["TASTESTREAM_RANKER__URL"].split(",") == expected
    green = render(values("cluster", ranker__active="green")).environment("Deployment", "gateway")
    assert (green["TASTESTREAM_RANKER__URL"].count("ranker-green-"), green["TASTESTREAM_RANKER__VERSION"]) == (
        2,
        "shop-ranker@4",
    )


@pytest.mark.parametrize("name", ["gateway", "worker"])
def test_the_service_understands_its_settings(
    rendered: Rendered, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable, value in rendered.environment("Deployment", name).items():
        monkeypatch.setenv(variable, "redis+cluster://r:6379" if value.startswith("secret:") else value)
    settings = Settings()
    assert settings.summarizer.version
    assert settings.models_folder == Path(rendered.environment("Deployment", name)[f"{PREFIX}MODEL_STORE"])


def test_containers_can_do_nothing_but_their_work(rendered: Rendered) -> None:
    pods = list(rendered.pods())
    assert pods
    for name, pod in pods:
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert container["resources"]["limits"]["memory"], name
            assert container["resources"]["requests"]["cpu"], name
            assert ":" in container["image"], name
            assert not container["image"].endswith(":latest"), name


def test_every_server_is_probed_and_survives_a_drained_node(rendered: Rendered) -> None:
    guarded = [one["spec"]["selector"]["matchLabels"] for one in rendered.kind("PodDisruptionBudget")]
    for kind in ("Deployment", "StatefulSet"):
        for one in rendered.kind(kind):
            (container,) = one["spec"]["template"]["spec"]["containers"]
            assert {"livenessProbe", "readinessProbe"} <= container.keys()
            if one["metadata"]["name"] != f"{NAME}-redis":
                assert one["spec"]["selector"]["matchLabels"] in guarded
    probes = rendered.get("Deployment", "gateway")["spec"]["template"]["spec"]["containers"][0]
    assert probes["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert probes["readinessProbe"]["httpGet"]["path"] == "/readyz"


@pytest.mark.parametrize(
    ("target", "port", "callers"),
    [
        ("ranker", 8000, {"gateway"}),
        ("summarizer", 8000, {"gateway", "worker"}),
        ("redis", 6379, {"gateway", "worker", "job"}),
        ("worker", 9100, set()),
        ("embedder", 8000, {"worker"}),
        ("encoder", 8003, {"worker"}),
        ("embedder-encoder", 8003, {"worker"}),
    ],
)
@pytest.mark.parametrize("case", CASES)
def test_a_server_answers_only_those_that_need_it(case: str, target: str, port: int, callers: set[str]) -> None:
    given = values(
        *CASES[case],
        encoder={"version": "r@1"},
        embedder={"url": "http://e:8000", "version": "e@1", "encoders": {"one": {"version": "e@1"}}},
        jobs={"rebuild": {"args": ["summaries", "rebuild", "--yes"]}},
    )
    policies = render(given).kind("NetworkPolicy")
    to = given["redis"].get("podLabels", {}) if target == "redis" else {}
    components = (
        "gateway",
        "worker",
        "job",
        "ranker",
        "summarizer",
        "embedder",
        "encoder",
        "embedder-encoder",
        "redis",
    )
    pods: dict[str, dict[str, str]] = {name: labels(name) for name in components} | {"stranger": {"app": "other"}}
    server = to or labels(target)
    assert {name for name, pod in pods.items() if accepts(policies, server, pod, port)} - {target} == callers
    assert all(may_open(policies, pods[name], server, port) for name in callers)
    assert not may_open(policies, labels("ranker"), labels("redis"), 6379)


def test_gateways_and_workers_know_the_encoder_and_without_a_version_there_is_none(cluster: Rendered) -> None:
    container = cluster.get("Deployment", "encoder")["spec"]["template"]["spec"]["containers"][0]
    assert container["args"][:2] == ["encoder", "shop-ranker@3"]
    for name in ("gateway", "worker"):
        given = cluster.environment("Deployment", name)
        assert given[f"{PREFIX}RANKER__ENCODER_URL"] == f"http://{NAME}-encoder:8003"
    without = render(values("demo"))
    assert not any(one["metadata"]["name"].endswith("-encoder") for one in without.objects)
    assert f"{PREFIX}RANKER__ENCODER_URL" not in without.environment("Deployment", "gateway")


def test_all_servers_of_an_embedder_are_known_and_the_active_one_is_wanted(cluster: Rendered) -> None:
    for name in ("gateway", "worker"):
        given = cluster.environment("Deployment", name)
        assert given[f"{PREFIX}EMBEDDER__URL"].split(",") == [
            f"http://{NAME}-embedder-blue:8000",
            f"http://{NAME}-embedder-green:8000",
        ]
        assert given[f"{PREFIX}EMBEDDER__VERSION"] == "shop-embedder@1"
        assert given[f"{PREFIX}EMBEDDER__ENCODER_URL"].split(",") == [
            f"http://{NAME}-embedder-encoder-blue:8003",
            f"http://{NAME}-embedder-encoder-green:8003",
        ]
    assert cluster.get("StatefulSet", "embedder-green")["spec"]["replicas"] == 2
    assert "clusterIP" not in cluster.get("Service", "embedder-green")["spec"]


def test_each_version_of_an_embedder_has_an_encoder_of_its_own(cluster: Rendered) -> None:
    for key, version, replicas in (("blue", "shop-embedder@1", 1), ("green", "shop-embedder@2", 2)):
        encoder = cluster.get("Deployment", f"embedder-encoder-{key}")["spec"]
        (container,) = encoder["template"]["spec"]["containers"]
        assert (container["args"][:2], encoder["replicas"]) == (["encoder", version], replicas)
        assert container["image"] == "registry.example.com/tastestream-demo:0.1.0"
        selector = cluster.get("Service", f"embedder-encoder-{key}")["spec"]["selector"]
        assert selector == encoder["selector"]["matchLabels"] == encoder["template"]["metadata"]["labels"]
        assert selector["tastestream.io/servers"] == key
        assert selector["app.kubernetes.io/component"] == "embedder-encoder"


def test_gateways_and_workers_alone_know_and_reach_qdrant(cluster: Rendered) -> None:
    policies, outside = cluster.kind("NetworkPolicy"), {"app": "qdrant"}
    for name in ("gateway", "worker"):
        assert cluster.environment("Deployment", name)[f"{PREFIX}EMBEDDER__QDRANT_URL"] == "http://qdrant:6333"
        (container,) = cluster.get("Deployment", name)["spec"]["template"]["spec"]["containers"]
        (key,) = [one for one in container["env"] if one["name"] == f"{PREFIX}EMBEDDER__QDRANT_API_KEY"]
        assert key["valueFrom"] == {"secretKeyRef": {"name": "qdrant", "key": "api-key"}}
    assert {name for name in ("gateway", "worker", "ranker") if may_open(policies, labels(name), outside, 6333)} == {
        "gateway",
        "worker",
    }
    without = render(values("cluster", embedder__qdrant__url="")).kind("NetworkPolicy")
    assert not may_open(without, labels("gateway"), outside, 6333)


def test_without_an_embedder_nothing_of_it_is_installed() -> None:
    without = render(values("demo"))
    assert not any("-embedder-" in one["metadata"]["name"] for one in without.objects if one["kind"] != "NetworkPolicy")
    assert not any(name.startswith(f"{PREFIX}EMBEDDER") for name in without.environment("Deployment", "worker"))


def test_workers_fetch_pictures_from_public_addresses_only(cluster: Rendered) -> None:
    rules = cluster.get("NetworkPolicy", "worker")["spec"]["egress"]
    (outside,) = [rule for rule in rules if any("ipBlock" in peer for peer in rule.get("to", ()))]
    assert {port["port"] for port in outside["ports"]} == {80, 443}
    assert {"10.0.0.0/8", "169.254.0.0/16", "127.0.0.0/8"} <= set(outside["to"][0]["ipBlock"]["except"])


def test_workers_are_scaled_by_the_largest_queue_that_a_process_reports() -> None:
    autoscaled = render(values("cluster", "autoscaled"))
    assert "replicas" not in autoscaled.get("Deployment", "worker")["spec"]
    assert "replicas" not in autoscaled.get("Deployment", "gateway")["spec"]
    assert autoscaled.get("HorizontalPodAutoscaler", "gateway")["spec"]["minReplicas"] == 3
    triggers = autoscaled.get("ScaledObject", "worker")["spec"]["triggers"]
    queries = [trigger["metadata"]["query"] for trigger in triggers]
    series = ("tastestream_oldest_due_seconds", "tastestream_due_users")
    oldest, due = (f'{name}{{namespace="recs"}}' for name in series)
    assert queries == [f"max({oldest})", f"sum(max by (tenant) ({due}))"]
    assert declared_series().issuperset(series)


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_vllm_has_the_environment_that_it_has_on_one_machine(device: str) -> None:
    given = render(values("demo", vllm__device=device)).environment("StatefulSet", "ranker-demo")
    # The number of threads is that of the processors there.
    expected = {key: value for key, value in environment(device).items() if key != "OMP_NUM_THREADS"}  # type: ignore[arg-type]
    assert expected.items() <= given.items()


@pytest.mark.parametrize(("folder", "inside"), [("prometheus/rules", "rules"), ("grafana/dashboards", "dashboards")])
def test_the_packaged_chart_holds_the_rules_and_dashboards_of_the_repository(
    folder: str, inside: str, tmp_path: Path
) -> None:
    archive = helm.package(CHART, destination=tmp_path)
    with tarfile.open(archive) as packed:
        found = {
            Path(one.name).name: packed.extractfile(one).read()  # type: ignore[union-attr]
            for one in packed.getmembers()
            if one.name.startswith(f"tastestream/{inside}/")
        }
    assert found == {one.name: one.read_bytes() for one in (ROOT / "deploy" / folder).glob("[!.]*")}


def test_prometheus_and_grafana_get_the_same_rules_and_dashboards(cluster: Rendered) -> None:
    rules = [one["spec"]["groups"] for one in cluster.kind("PrometheusRule")]
    files = sorted((ROOT / "deploy/prometheus/rules").iterdir())
    assert rules == [yaml.safe_load(one.read_text("utf-8"))["groups"] for one in files]
    boards: dict[str, Any] = {}
    for one in cluster.kind("ConfigMap"):
        if "grafana_dashboard" in one["metadata"]["labels"]:
            boards |= one["data"]
    assert {name: text.strip() for name, text in boards.items()} == {
        one.name: one.read_text("utf-8").strip() for one in (ROOT / "deploy/grafana/dashboards").glob("*.json")
    }


def test_a_job_is_a_template_until_it_is_started_or_scheduled(cluster: Rendered) -> None:
    assert cluster.get("CronJob", "rebuild")["spec"]["suspend"] is True
    export = cluster.get("CronJob", "export")["spec"]
    assert (export["suspend"], export["schedule"]) == (False, "0 3 * * *")
    train = cluster.get("CronJob", "train")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    mounts = {one["mountPath"]: one.get("readOnly") for one in train["containers"][0]["volumeMounts"]}
    assert (mounts["/models"], mounts["/files"]) == (False, None)


def test_no_secret_is_in_any_object(rendered: Rendered) -> None:
    assert rendered.kind("Secret") == []


def test_targets_have_the_job_names_that_the_alerts_ask_for(cluster: Rendered) -> None:
    monitor = cluster.get("ServiceMonitor")["spec"]
    for endpoint in monitor["endpoints"]:
        (relabeling,) = endpoint["relabelings"]
        assert (relabeling["targetLabel"], relabeling["replacement"]) == ("job", "tastestream-$1")
        assert "honorLabels" not in endpoint, "no series has a label of the scrape's"
    (components,) = monitor["selector"]["matchExpressions"]
    prometheus = yaml.safe_load((ROOT / "deploy/compose/prometheus.yml").read_text("utf-8"))
    jobs = {one["job_name"] for one in prometheus["scrape_configs"]}
    assert jobs == {f"tastestream-{component}" for component in components["values"]}
    services = [one for one in cluster.kind("Service") if selects(monitor["selector"], one["metadata"]["labels"])]
    ports = {port["name"] for one in services for port in one["spec"]["ports"]}
    assert ports == {endpoint["port"] for endpoint in monitor["endpoints"]}
