{{/* The default connection, as an environment variable. */}}
{{- define "triggerfish.connection.env" -}}
{{- if .Values.connection.secretName -}}
- name: TRIGGERFISH_CONNECTION
  valueFrom:
    secretKeyRef:
      name: {{ .Values.connection.secretName | quote }}
      key: {{ .Values.connection.key | quote }}
{{- else if .Values.valkey.enabled -}}
- name: TRIGGERFISH_CONNECTION
  value: {{ include "triggerfish.valkey.address" . }}
{{- end -}}
{{- end -}}

{{- define "triggerfish.valkey.address" -}}
{{- include "triggerfish.fullname" . }}-valkey:6379
{{- end -}}

{{/* Those of the named connections whose Secret holds a connection string ("of" "secretName") or only a password ("of"
"passwordSecret"), as a JSON list: (dict "root" $ "names" NAMES "of" FIELD). */}}
{{- define "triggerfish.connection.filter" -}}
{{- $found := list -}}
{{- range $name := .names -}}
{{- if index $.root.Values.connections $name $.of }}{{ $found = append $found $name }}{{ end -}}
{{- end -}}
{{- $found | toJson -}}
{{- end -}}

{{/* The settings of connections: (dict "root" $ "names" NAMES). */}}
{{- define "triggerfish.connection.settings" -}}
{{- if include "triggerfish.connection.filter" (merge (dict "of" "secretName") .) | fromJsonArray }}
connections_dir: /etc/triggerfish/connections
{{- end }}
{{- $addressed := include "triggerfish.connection.filter" (merge (dict "of" "passwordSecret") .) | fromJsonArray }}
{{- $trial := and .root.Values.valkey.enabled .root.Values.valkey.connections }}
{{- if or $addressed $trial }}
connections:
  {{- range $name := $addressed }}
  {{ $name | quote }}:
    connection_string: {{ index $.root.Values.connections $name "address" | quote }}
    password_file: /etc/triggerfish/passwords/{{ $name }}
  {{- end }}
  {{- if $trial }}
  {{- range .root.Values.valkey.connections }}
  {{ . | quote }}: {{ include "triggerfish.valkey.address" $.root }}
  {{- end }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The names of the connections from Secrets that an app's triggers use, as a JSON list: (dict "root" $ "app" APP). */}}
{{- define "triggerfish.app.connections" -}}
{{- $names := list -}}
{{- range $trigger := .app.triggers -}}
{{- $name := lower (default "" $trigger.connection) -}}
{{- if hasKey (default dict $.root.Values.connections) $name -}}
{{- $names = append $names $name -}}
{{- end -}}
{{- end -}}
{{- $names | uniq | sortAlpha | toJson -}}
{{- end -}}
