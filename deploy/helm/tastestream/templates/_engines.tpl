{{/*
The URL of a role's vLLM servers: the given one, or those of the active server set. Rankers are named one by one, so that
gateways can send a user to the same one; the summarizer's prompts share no prefix by user, so that its Service will do.
Embedders are the Services of all server sets, since the vectors of a new version are made while the old one is in use.
*/}}
{{- define "tastestream.engineUrl" -}}
{{- $values := index .root.Values .role -}}
{{- if $values.url -}}
{{- $values.url -}}
{{- else if eq .role "embedder" -}}
{{- $urls := list -}}
{{- range $key, $_ := $values.servers -}}
{{- $urls = append $urls (printf "http://%s-embedder-%s:8000" (include "tastestream.name" $.root) $key) -}}
{{- end -}}
{{- join "," $urls -}}
{{- else -}}
{{- $set := include "tastestream.activeSet" . | fromYaml -}}
{{- $name := printf "%s-%s-%s" (include "tastestream.name" .root) .role $values.active -}}
{{- if eq .role "ranker" -}}
{{- range $n := until (int ($set.replicas | default 1)) -}}
{{- if $n }},{{ end }}http://{{ $name }}-{{ $n }}.{{ $name }}:8000
{{- end -}}
{{- else -}}
http://{{ $name }}:8000
{{- end -}}
{{- end -}}
{{- end }}

{{/* The active entry of a role's `servers`. */}}
{{- define "tastestream.activeSet" -}}
{{- $values := index .root.Values .role -}}
{{- index $values.servers $values.active | toYaml -}}
{{- end }}

{{/* Environment that points to one role's server. */}}
{{- define "tastestream.engineEnvironment" -}}
{{- $values := index .root.Values .role -}}
{{- $prefix := printf "TASTESTREAM_%s__" (upper .role) -}}
- name: {{ $prefix }}URL
  value: {{ include "tastestream.engineUrl" . | quote }}
{{- if $values.url }}
{{- with $values.model }}
- name: {{ $prefix }}MODEL
  value: {{ . | quote }}
{{- end }}
{{- with $values.version }}
- name: {{ $prefix }}VERSION
  value: {{ . | quote }}
{{- end }}
{{- else }}
- name: {{ $prefix }}VERSION
  value: {{ (include "tastestream.activeSet" . | fromYaml).version | quote }}
{{- end }}
{{- with $values.apiKeySecret }}
{{- if .name }}
- name: {{ $prefix }}API_KEY
  valueFrom: {secretKeyRef: {name: {{ .name }}, key: {{ .key }}}}
{{- end }}
{{- end }}
{{- end }}
