// Jsonnet can't list folders. tests/deploy/test_mixin.py checks that no file is missing.
{
  rules: [
    importstr '../prometheus/rules/availability.yml',
    importstr '../prometheus/rules/events.yml',
    importstr '../prometheus/rules/ranker.yml',
    importstr '../prometheus/rules/recommendations.yml',
    importstr '../prometheus/rules/redis.yml',
    importstr '../prometheus/rules/slo_events.yml',
    importstr '../prometheus/rules/slo_freshness.yml',
    importstr '../prometheus/rules/slo_recommend.yml',
    importstr '../prometheus/rules/workers.yml',
  ],
  dashboards: {
    'catalogue-pictures.json': import '../grafana/dashboards/catalogue-pictures.json',
    'freshness-workers.json': import '../grafana/dashboards/freshness-workers.json',
    'inference.json': import '../grafana/dashboards/inference.json',
    'model-quality.json': import '../grafana/dashboards/model-quality.json',
    'overview.json': import '../grafana/dashboards/overview.json',
  },
}
