{{/* What the schema can't say about the values, all problems at once. Every file that renders something includes this. */}}
{{- define "tastestream.check" -}}
{{- $found := list -}}
{{- with .Values.gateway -}}
{{- if and .insecure .apiKeys.existingSecret -}}
{{- $found = append $found "gateway.insecure and gateway.apiKeys.existingSecret exclude each other" -}}
{{- else if not (or .insecure .apiKeys.existingSecret) -}}
{{- $found = append $found "gateway.apiKeys.existingSecret: name a Secret with the file of API keys, or set gateway.insecure in a closed network" -}}
{{- end -}}
{{- end -}}
{{- with .Values.redis -}}
{{- if contains "@" .url -}}
{{- $found = append $found "redis.url has a password in it: put the URL into a Secret and name that as redis.urlSecret" -}}
{{- end -}}
{{- if and .enabled .url -}}
{{- $found = append $found "redis.enabled runs a Redis of this chart, and redis.url names another: set one of them" -}}
{{- end -}}
{{- if not (or .enabled .url .urlSecret.name) -}}
{{- $found = append $found "redis: set redis.url or redis.urlSecret.name to use a Redis of yours, or redis.enabled to run one" -}}
{{- end -}}
{{- if and .enabled .existingSecret (not .urlSecret.name) -}}
{{- $found = append $found "redis.existingSecret sets a password: redis.urlSecret must name a Secret with the URL that has it" -}}
{{- end -}}
{{- end -}}
{{- range $role := list "ranker" "summarizer" "embedder" -}}
{{- $values := index $.Values $role -}}
{{- if and (eq $role "embedder") (not $values.servers) (not (include "tastestream.hasEmbedder" $)) -}}
{{- if $values.encoders -}}
{{- $found = append $found "embedder.encoders: name the embedder as well: embedder.url, or one of embedder.servers as embedder.active" -}}
{{- end -}}
{{- else if $values.url -}}
{{- if and (eq $role "embedder") (not $values.version) -}}
{{- $found = append $found "embedder.url is set: also set embedder.version, the version in the model store" -}}
{{- else if not (or $values.model $values.version) -}}
{{- $found = append $found (printf "%s.url is set: also set %s.model, the name under which it serves, or %s.version" $role $role $role) -}}
{{- end -}}
{{- else if not $values.active -}}
{{- $found = append $found (printf "%s: name its server: %s.url, or one of %s.servers as %s.active" $role $role $role $role) -}}
{{- else if not (hasKey $values.servers $values.active) -}}
{{- $found = append $found (printf "%s.active is %q, which is not in %s.servers (%s)" $role $values.active $role (keys $values.servers | sortAlpha | join ", ")) -}}
{{- end -}}
{{- range $name, $set := $values.servers -}}
{{- if not (regexMatch "@[0-9]+$" $set.version) -}}
{{- $found = append $found (printf "%s.servers.%s.version is %q: name a version as NAME@NUMBER; an alias may mean another one after a restart" $role $name $set.version) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := .Values.settings -}}
{{- if or (eq $name "REDIS_URL") (hasSuffix "API_KEY" $name) -}}
{{- $found = append $found (printf "settings.%s is a secret: name a Secret in redis.urlSecret, or the apiKeySecret of ranker, summarizer, embedder or embedder.qdrant" $name) -}}
{{- end -}}
{{- end -}}
{{- if not (or .Values.pictures.existingClaim .Values.pictures.url) -}}
{{- $found = append $found "pictures: gateways and workers share their pictures: set pictures.existingClaim (ReadWriteMany) or pictures.url" -}}
{{- end -}}
{{- with .Values.worker.keda -}}
{{- if and .enabled (not .prometheusUrl) -}}
{{- $found = append $found "worker.keda.prometheusUrl: name the Prometheus that scrapes this release" -}}
{{- end -}}
{{- end -}}
{{- if $found -}}
{{- fail (printf "the values can't be installed:\n- %s" (join "\n- " $found)) -}}
{{- end -}}
{{- end }}
