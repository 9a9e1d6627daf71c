{{/* The environment of gateways, workers and jobs. Values that are secret come from Secrets. */}}
{{- define "tastestream.environment" -}}
{{- $root := .root -}}
- name: TASTESTREAM_REDIS_URL
{{- with $root.Values.redis }}
{{- if .urlSecret.name }}
  valueFrom: {secretKeyRef: {name: {{ .urlSecret.name }}, key: {{ .urlSecret.key }}}}
{{- else if .url }}
  value: {{ .url | quote }}
{{- else }}
  value: redis://{{ include "tastestream.name" $root }}-redis:6379/0
{{- end }}
{{- end }}
- name: TASTESTREAM_MODEL_STORE
  value: {{ $root.Values.modelStore.path }}
{{- with $root.Values.pictures.url }}
- name: TASTESTREAM_PICTURES__URL
  value: {{ . | quote }}
{{- end }}
{{ include "tastestream.engineEnvironment" (dict "root" $root "role" "summarizer") }}
{{ include "tastestream.engineEnvironment" (dict "root" $root "role" "ranker") }}
- name: TASTESTREAM_RANKER__MODE
  value: {{ $root.Values.ranker.mode }}
{{- if $root.Values.encoder.version }}
- name: TASTESTREAM_RANKER__ENCODER_URL
  value: http://{{ include "tastestream.name" $root }}-encoder:8003
{{- end }}
{{- if include "tastestream.hasEmbedder" $root }}
{{ include "tastestream.engineEnvironment" (dict "root" $root "role" "embedder") }}
{{- with $root.Values.embedder.encoders }}
{{- $urls := list }}
{{- range $key, $_ := . }}
{{- $urls = append $urls (printf "http://%s-embedder-encoder-%s:8003" (include "tastestream.name" $root) $key) }}
{{- end }}
- name: TASTESTREAM_EMBEDDER__ENCODER_URL
  value: {{ join "," $urls }}
{{- end }}
{{- with $root.Values.embedder.qdrant }}
{{- if .url }}
- name: TASTESTREAM_EMBEDDER__QDRANT_URL
  value: {{ .url | quote }}
{{- if .apiKeySecret.name }}
- name: TASTESTREAM_EMBEDDER__QDRANT_API_KEY
  valueFrom: {secretKeyRef: {name: {{ .apiKeySecret.name }}, key: {{ .apiKeySecret.key }}}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Not empty if the values name an embedder. */}}
{{- define "tastestream.hasEmbedder" -}}
{{- with .Values.embedder }}{{ .url }}{{ .active }}{{ end }}
{{- end }}

{{- define "tastestream.settings" -}}
- configMapRef: {name: {{ include "tastestream.name" . }}-settings}
{{- end }}

{{/* Pictures, the model store and room for temporary files. */}}
{{- define "tastestream.mounts" -}}
- {name: data, mountPath: /data}
- {name: tmp, mountPath: /tmp}
{{- if .Values.modelStore.existingClaim }}
- {name: models, mountPath: {{ .Values.modelStore.path }}, readOnly: true}
{{- end }}
{{- end }}

{{- define "tastestream.volumes" -}}
- name: data
{{- if .Values.pictures.existingClaim }}
  persistentVolumeClaim: {claimName: {{ .Values.pictures.existingClaim }}}
{{- else }}
  emptyDir: {sizeLimit: 10Gi}
{{- end }}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
{{- with .Values.modelStore.existingClaim }}
- name: models
  persistentVolumeClaim: {claimName: {{ . }}, readOnly: true}
{{- end }}
{{- end }}

{{/* Rolls the pods when what they read at their start has changed. */}}
{{- define "tastestream.checksum" -}}
checksum/settings: {{ toYaml .Values.settings | sha256sum }}
{{- end }}
