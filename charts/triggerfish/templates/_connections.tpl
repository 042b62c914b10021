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

{{/* The settings of connections: (dict "root" $ "connections" MOUNTED CONNECTIONS). */}}
{{- define "triggerfish.connection.settings" -}}
{{- if .connections }}
connections_dir: /etc/triggerfish/connections
{{- end }}
{{- if and .root.Values.valkey.enabled .root.Values.valkey.connections }}
connections:
  {{- range .root.Values.valkey.connections }}
  {{ . | quote }}: {{ include "triggerfish.valkey.address" $.root }}
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
