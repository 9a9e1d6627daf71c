"""Mistakes in the values of the chart are named, by its schema or by its templates."""

import pytest

from tests.deploy.rendered import Object, helm, render, values


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"gateway": {"replica": 3}}, "at '/gateway': additional properties 'replica' not allowed"),
        ({"gateway": {"replicas": "three"}}, "at '/gateway/replicas': got string, want integer"),
        ({"gateway": {"replicas": 0}}, "at '/gateway/replicas': minimum: got 0, want 1"),
        ({"settings": {"state__block_size": 3}}, "invalid propertyName 'state__block_size'"),
        ({"vllm": {"device": "tpu"}}, "at '/vllm/device': value must be one of 'gpu', 'cpu'"),
        ({"ranker": {"servers": {"blue": {"replicas": 2}}}}, "at '/ranker/servers/blue': missing property 'version'"),
        ({"ranker": {"servers": {"Blue": {"version": "shop-ranker@1"}}}}, "invalid propertyName 'Blue'"),
        ({"redis": {"url": "http://redis:6379"}}, "at '/redis/url'"),
        ({"redis": {"maxmemory": "4 gigabytes"}}, "at '/redis/maxmemory'"),
        ({"worker": {"keda": {"minReplicas": 0}}}, "at '/worker/keda/minReplicas': minimum: got 0, want 1"),
        ({"jobs": {"rebuild": {}}}, "at '/jobs/rebuild': missing property 'args'"),
        ({"jobs": {"rebuild": {"args": ["summaries"], "schedule": "nightly"}}}, "at '/jobs/rebuild/schedule'"),
    ],
)
def test_a_value_of_the_wrong_form_is_named(given: Object, message: str) -> None:
    with pytest.raises(helm.HelmError) as refusal:
        render(given)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gateway__apiKeys__existingSecret": ""}, "gateway.apiKeys.existingSecret: name a Secret"),
        ({"gateway__insecure": True}, "exclude each other"),
        ({"redis__urlSecret__name": ""}, "set redis.url or redis.urlSecret.name"),
        ({"redis__enabled": True, "redis__url": "redis://r:6379"}, "set one of them"),
        ({"redis__enabled": True, "redis__existingSecret": "r", "redis__urlSecret__name": ""}, "sets a password"),
        ({"redis__url": "redis://:password@r:6379"}, "redis.url has a password in it"),
        ({"pictures__existingClaim": ""}, "set pictures.existingClaim (ReadWriteMany) or pictures.url"),
        ({"ranker__active": ""}, "ranker: name its server: ranker.url, or one of ranker.servers as ranker.active"),
        ({"ranker__active": "red"}, 'ranker.active is "red", which is not in ranker.servers (blue, green)'),
        ({"ranker__servers__blue__version": "shop-ranker@production"}, "name a version as NAME@NUMBER"),
        ({"summarizer__url": "http://own:8000"}, "also set summarizer.model"),
        ({"embedder__active": ""}, "embedder: name its server: embedder.url, or one of embedder.servers"),
        ({"embedder__active": "red"}, 'embedder.active is "red", which is not in embedder.servers (blue, green)'),
        ({"embedder__url": "http://own:8000"}, "also set embedder.version"),
        ({"embedder__active": "", "embedder__servers": None}, "embedder.encoders: name the embedder as well"),
        ({"settings__RANKER__API_KEY": "x"}, "settings.RANKER__API_KEY is a secret"),
        ({"worker__keda__enabled": True}, "worker.keda.prometheusUrl: name the Prometheus"),
    ],
)
def test_values_that_can_not_work_are_refused_with_what_to_set(changes: Object, message: str) -> None:
    with pytest.raises(helm.HelmError) as refusal:
        render(values("cluster", **changes))
    assert message in str(refusal.value)
    assert "password@" not in str(refusal.value)


def test_all_that_is_missing_is_said_at_once() -> None:
    with pytest.raises(helm.HelmError) as refusal:
        render({})
    assert str(refusal.value).count("\n- ") == 5
