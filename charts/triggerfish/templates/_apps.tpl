{{/* An app merged with appDefaults, as YAML: (dict "root" $ "app" APP). The queue of another library is its only trigger. */}}
{{- define "triggerfish.app" -}}
{{- $app := mergeOverwrite (deepCopy .root.Values.appDefaults) (deepCopy .app) -}}
{{- if and $app.queue (not $app.triggers) -}}
{{- $app = set $app "triggers" (dict "queue" $app.queue) -}}
{{- end -}}
{{- $app | toYaml -}}
{{- end -}}

{{/* The number of an app's triggers of a type: (dict "app" APP "type" TYPE). */}}
{{- define "triggerfish.app.count" -}}
{{- $count := 0 -}}
{{- range .app.triggers -}}
{{- if eq .type $.type }}{{ $count = add1 $count }}{{ end -}}
{{- end -}}
{{- $count -}}
{{- end -}}

{{/* The kind of an app: "pubsub" has pub/sub triggers only and one replica, "mixed" has other triggers too, and "queues"
has no pub/sub triggers. */}}
{{- define "triggerfish.app.kind" -}}
{{- $pubsub := include "triggerfish.app.count" (dict "app" .app "type" "RedisPubSubTrigger") | int -}}
{{- if eq $pubsub 0 -}}queues{{- else if eq $pubsub (len .app.triggers) -}}pubsub{{- else -}}mixed{{- end -}}
{{- end -}}

{{/* "true" if an app keeps leases in Kubernetes, for which it needs a Role and a token: (dict "app" APP). */}}
{{- define "triggerfish.app.kubernetesLeases" -}}
{{- if and (eq .app.pubsubLease "kubernetes") (ne (include "triggerfish.app.kind" .) "queues") }}true{{ end -}}
{{- end -}}

{{- define "triggerfish.app.minReplicas" -}}
{{- $given := .app.scaling.minReplicas -}}
{{- if eq (include "triggerfish.app.kind" .) "queues" }}{{ default 0 $given | int }}{{ else }}{{ max 1 (default 1 $given | int) }}{{ end -}}
{{- end -}}

{{- define "triggerfish.app.maxReplicas" -}}
{{- if eq (include "triggerfish.app.kind" .) "pubsub" }}1{{ else if kindIs "invalid" .app.scaling.maxReplicas }}100{{ else }}{{ int .app.scaling.maxReplicas }}{{ end -}}
{{- end -}}

{{/* Metadata of an app's object: (dict "root" $ "name" APP'S NAME "object" OBJECT'S NAME). "object" defaults to the app's
name. */}}
{{- define "triggerfish.app.metadata" -}}
{{- include "triggerfish.metadata" (dict "root" .root "name" .name "component" "app" "object" .object) -}}
{{- end -}}

{{- define "triggerfish.app.selector" -}}
{{- include "triggerfish.selector" (dict "root" .root "name" .name "component" "app") -}}
{{- end -}}

{{/* The name of the Lease of a pub/sub function, as the host computes it: (dict "app" APP'S NAME IN CODE "function"
FUNCTION). */}}
{{- define "triggerfish.app.lease" -}}
{{- $digest := printf "%s\x00%s" .app .function | sha256sum | trunc 10 -}}
{{- $readable := regexReplaceAll "[^a-z0-9]+" (printf "triggerfish-%s-%s" .app .function | lower) "-" -}}
{{- $readable | trunc 52 | trimAll "-" }}-{{ $digest }}
{{- end -}}

{{- define "triggerfish.app.serviceAccount" -}}
{{- $account := .app.serviceAccount -}}
{{- if $account.create }}{{ default .name $account.name }}{{ else }}{{ default "default" $account.name }}{{ end -}}
{{- end -}}

{{/* The settings of an app: (dict "root" $ "app" APP). */}}
{{- define "triggerfish.app.config" -}}
{{- include "triggerfish.connection.settings" (dict "root" .root "names" (include "triggerfish.app.connections" . | fromJsonArray)) | trim }}
{{- $host := dict "http_port" 8080 "grace_period_seconds" .app.gracePeriodSeconds "pubsub_lease" .app.pubsubLease }}
host:
  {{- merge $host .app.settings | toYaml | nindent 2 }}
{{- end -}}
