{{/* An app with its defaults, as YAML: (dict "root" $ "app" APP). */}}
{{- define "triggerfish.app" -}}
{{- mergeOverwrite (deepCopy .root.Values.appDefaults) (deepCopy .app) | toYaml -}}
{{- end -}}

{{/* How often an app's triggers are of a type: (dict "app" APP "type" TYPE). */}}
{{- define "triggerfish.app.count" -}}
{{- $count := 0 -}}
{{- range .app.triggers -}}
{{- if eq .type $.type }}{{ $count = add1 $count }}{{ end -}}
{{- end -}}
{{- $count -}}
{{- end -}}

{{/* What an app is: "pubsub" has pub/sub triggers only and runs once, "mixed" has others too, "queues" has none. */}}
{{- define "triggerfish.app.shape" -}}
{{- $pubsub := include "triggerfish.app.count" (dict "app" .app "type" "RedisPubSubTrigger") | int -}}
{{- if eq $pubsub 0 -}}queues{{- else if eq $pubsub (len .app.triggers) -}}pubsub{{- else -}}mixed{{- end -}}
{{- end -}}

{{- define "triggerfish.app.minReplicas" -}}
{{- $given := .app.scaling.minReplicas -}}
{{- if eq (include "triggerfish.app.shape" .) "queues" }}{{ default 0 $given | int }}{{ else }}{{ max 1 (default 1 $given | int) }}{{ end -}}
{{- end -}}

{{- define "triggerfish.app.maxReplicas" -}}
{{- if eq (include "triggerfish.app.shape" .) "pubsub" }}1{{ else if kindIs "invalid" .app.scaling.maxReplicas }}100{{ else }}{{ int .app.scaling.maxReplicas }}{{ end -}}
{{- end -}}

{{/* An app's metadata: (dict "root" $ "name" NAME "object" OBJECT'S NAME); by default the app's own name. */}}
{{- define "triggerfish.app.metadata" -}}
{{- include "triggerfish.metadata" (dict "root" .root "name" .name "component" "app" "object" .object) -}}
{{- end -}}

{{- define "triggerfish.app.selector" -}}
{{- include "triggerfish.selector" (dict "root" .root "name" .name "component" "app") -}}
{{- end -}}

{{- define "triggerfish.app.serviceAccount" -}}
{{- $account := .app.serviceAccount -}}
{{- if $account.create }}{{ default .name $account.name }}{{ else }}{{ default "default" $account.name }}{{ end -}}
{{- end -}}

{{/* The settings of an app: (dict "root" $ "app" APP). */}}
{{- define "triggerfish.app.config" -}}
{{- include "triggerfish.connection.settings" (dict "root" .root "connections" (include "triggerfish.app.connections" . | fromJsonArray)) | trim }}
{{- $host := dict "http_port" 8080 "grace_period_seconds" .app.gracePeriodSeconds "pubsub_lease" .app.pubsubLease }}
host:
  {{- merge $host .app.settings | toYaml | nindent 2 }}
{{- end -}}
