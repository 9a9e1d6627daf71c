{{/* Names and labels. */}}
{{- define "tastestream.name" -}}
{{- $name := .Release.Name -}}
{{- if contains .Chart.Name $name -}}{{ $name | trunc 40 | trimSuffix "-" }}{{- else -}}{{ printf "%s-%s" $name .Chart.Name | trunc 40 | trimSuffix "-" }}{{- end -}}
{{- end }}

{{- define "tastestream.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "tastestream.labels" -}}
{{ include "tastestream.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "tastestream.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* What the containers of all pods must not do. */}}
{{- define "tastestream.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .user }}
runAsGroup: {{ .group }}
fsGroup: {{ .group }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "tastestream.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Replicas of a component on different nodes where possible. */}}
{{- define "tastestream.spread" -}}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "tastestream.selector" . | nindent 6 }}
{{- end }}

{{/* Where pods are placed, and which secrets pull their images: of the values of one component. */}}
{{- define "tastestream.placement" -}}
{{- $placement := pick .values "nodeSelector" "tolerations" -}}
{{- with .root.Values.imagePullSecrets -}}
{{- $secrets := list -}}
{{- range . -}}{{- $secrets = append $secrets (dict "name" .) -}}{{- end -}}
{{- $_ := set $placement "imagePullSecrets" $secrets -}}
{{- end -}}
{{- range $key, $value := $placement -}}
{{- if not $value -}}{{- $_ := unset $placement $key -}}{{- end -}}
{{- end -}}
{{- if $placement -}}{{- toYaml $placement -}}{{- end -}}
{{- end }}
