{{/* Parts of network policies. */}}
{{- define "tastestream.components" -}}
matchLabels:
  app.kubernetes.io/name: {{ .root.Chart.Name }}
  app.kubernetes.io/instance: {{ .root.Release.Name }}
matchExpressions:
  - {key: app.kubernetes.io/component, operator: In, values: {{ toJson .components }}}
{{- end }}

{{- define "tastestream.fromPrometheus" -}}
- from:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ .root.Values.networkPolicy.monitoringNamespace }}}
  ports: [{port: {{ .port }}, protocol: TCP}]
{{- end }}

{{/* To port 53 of any address, since some clusters answer on a link-local address of the node. */}}
{{- define "tastestream.toDns" -}}
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
{{- end }}

{{- define "tastestream.toRedis" -}}
{{- if .Values.redis.enabled }}
- to:
    - podSelector:
        {{- include "tastestream.components" (dict "root" . "components" (list "redis")) | nindent 8 }}
  ports: [{port: 6379, protocol: TCP}]
{{- else if .Values.redis.podLabels }}
- to:
    - podSelector:
        matchLabels:
          {{- toYaml .Values.redis.podLabels | nindent 10 }}
  ports: [{port: 6379, protocol: TCP}]
{{- else }}
- ports:
    {{- range .Values.networkPolicy.redisPorts }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}
{{- end }}

{{/* To Qdrant, wherever it is. */}}
{{- define "tastestream.toQdrant" -}}
{{- if .Values.embedder.qdrant.url }}
- ports:
    {{- range .Values.networkPolicy.qdrantPorts }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}
{{- end }}

{{/* To the vLLM servers of some roles, and to own ones wherever they are. */}}
{{- define "tastestream.toEngines" -}}
- to:
    - podSelector:
        {{- include "tastestream.components" . | nindent 8 }}
  ports: [{port: 8000, protocol: TCP}]
{{- range .components }}
{{- $values := index $.root.Values . }}
{{- if $values.url }}
- ports:
    {{- range splitList "," $values.url | uniq }}
    {{- $url := urlParse (trim .) }}
    - {port: {{ regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (eq $url.scheme "https" | ternary "443" "80") }}, protocol: TCP}
    {{- end }}
{{- end }}
{{- end }}
{{- end }}
