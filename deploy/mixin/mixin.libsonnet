// A monitoring mixin of the files that Prometheus and Grafana load: prometheusAlerts, prometheusRules, grafanaDashboards.
// It needs go-jsonnet, or jsonnet 0.20 (in older ones, std.parseYaml fails with texts of several lines).
//
//   jsonnet -S -e 'std.manifestYamlDoc((import "mixin.libsonnet").prometheusAlerts)' > alerts.yaml
//
// A configuration of one's own: (import 'mixin.libsonnet') + { _config+:: { docs: 'https://...' } }.
local files = import 'files.libsonnet';

local groups = std.flattenArrays([std.parseYaml(file).groups for file in files.rules]);

// The groups with the rules that have a field, without those that are then empty.
local only(field) = [
  group { rules: rules }
  for group in groups
  for rules in [[rule for rule in group.rules if std.objectHas(rule, field)]]
  if std.length(rules) > 0
];

{
  _config:: {
    // The address of the folder docs. Without one, the rules take it from Prometheus's external label tastestream_docs,
    // and the dashboards from their variable docs.
    docs: null,
    // Labels that every alert gets, such as { team: 'search' }.
    alertLabels: {},
  },

  local config = self._config,

  local configured(rule) = rule {
    labels+: config.alertLabels,
    annotations+: if config.docs == null then {} else {
      runbook_url: '%s/runbooks/%s.md' % [config.docs, rule.alert],
    },
  },

  prometheusAlerts+:: {
    groups+: [group { rules: std.map(configured, group.rules) } for group in only('alert')],
  },

  prometheusRules+:: {
    groups+: only('record'),
  },

  local linked(variable) = if config.docs == null || variable.name != 'docs' then variable else variable {
    query: config.docs,
    current: { text: config.docs, value: config.docs },
    options: [{ selected: true, text: config.docs, value: config.docs }],
  },

  grafanaDashboards+:: {
    [name]: files.dashboards[name] { templating+: { list: std.map(linked, super.list) } }
    for name in std.objectFields(files.dashboards)
  },
}
