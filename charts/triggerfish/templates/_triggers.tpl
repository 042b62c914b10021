{{/* A value as text, since all metadata is text. */}}
{{- define "triggerfish.text" -}}
{{- if kindIs "slice" . }}{{ join " " . }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) }}{{ printf "%.0f" . }}
{{- else }}{{ . }}
{{- end -}}
{{- end -}}

{{/* A trigger's metadata, as YAML: (dict "app" APP "name" APP'S NAME "function" FUNCTION "trigger" TRIGGER). */}}
{{- define "triggerfish.trigger.metadata" -}}
type: {{ .trigger.type }}
function: {{ .function | quote }}
app: {{ default .name .app.name | quote }}
{{- range $key, $value := omit .trigger "type" }}
{{- if not (kindIs "invalid" $value) }}
{{ $key }}: {{ include "triggerfish.text" $value | quote }}
{{- end }}
{{- end }}
{{- if and (ne .trigger.type "RedisPubSubTrigger") (not (hasKey .trigger "maxInstances")) }}
maxInstances: {{ include "triggerfish.app.maxReplicas" . | quote }}
{{- end }}
{{- end -}}
