{{/* The default connection, as an environment variable, unless its Secret holds only a password. */}}
{{- define "triggerfish.connection.env" -}}
{{- $connection := default dict .Values.connection -}}
{{- if $connection.secretName -}}
- name: TRIGGERFISH_CONNECTION
  valueFrom:
    secretKeyRef:
      name: {{ $connection.secretName | quote }}
      key: {{ default "connection" $connection.key | quote }}
{{- else if and .Values.valkey.enabled (not $connection) -}}
- name: TRIGGERFISH_CONNECTION
  value: {{ include "triggerfish.valkey.address" . }}
{{- end -}}
{{- end -}}

{{- define "triggerfish.valkey.address" -}}
{{- include "triggerfish.fullname" . }}-valkey:6379
{{- end -}}

{{/* The connections whose Secrets are mounted, by name, as JSON. The default one is among them if its Secret holds only a
password. It is called _default, which cannot be the name of another. */}}
{{- define "triggerfish.connections" -}}
{{- $connections := deepCopy (default dict .Values.connections) -}}
{{- $default := default dict .Values.connection -}}
{{- if $default.passwordSecret }}{{ $connections = set $connections "_default" $default }}{{ end -}}
{{- $connections | toJson -}}
{{- end -}}

{{/* The names of all connections whose Secrets are mounted, as a JSON list. */}}
{{- define "triggerfish.connection.names" -}}
{{- include "triggerfish.connections" . | fromJson | keys | sortAlpha | toJson -}}
{{- end -}}

{{/* Those of the connections whose Secret holds a connection string ("of" "secretName") or only a password ("of"
"passwordSecret"), as a JSON list: (dict "root" $ "names" NAMES "of" FIELD). */}}
{{- define "triggerfish.connection.filter" -}}
{{- $connections := include "triggerfish.connections" .root | fromJson -}}
{{- $found := list -}}
{{- range $name := .names -}}
{{- if index $connections $name $.of }}{{ $found = append $found $name }}{{ end -}}
{{- end -}}
{{- $found | toJson -}}
{{- end -}}

{{/* The settings of connections: (dict "root" $ "names" NAMES). */}}
{{- define "triggerfish.connection.settings" -}}
{{- if include "triggerfish.connection.filter" (merge (dict "of" "secretName") .) | fromJsonArray }}
connections_dir: /etc/triggerfish/connections
{{- end }}
{{- $addressed := include "triggerfish.connection.filter" (merge (dict "of" "passwordSecret") .) | fromJsonArray }}
{{- $named := without $addressed "_default" }}
{{- $trial := and .root.Values.valkey.enabled .root.Values.valkey.connections }}
{{- if has "_default" $addressed }}
connection:
  {{- include "triggerfish.connection.addressed" (merge (dict "name" "_default") .) | nindent 2 }}
{{- end }}
{{- if or $named $trial }}
connections:
  {{- range $name := $named }}
  {{ $name | quote }}:
    {{- include "triggerfish.connection.addressed" (merge (dict "name" $name) $) | nindent 4 }}
  {{- end }}
  {{- if $trial }}
  {{- range .root.Values.valkey.connections }}
  {{ . | quote }}: {{ include "triggerfish.valkey.address" $.root }}
  {{- end }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The settings of a connection whose password is mounted: (dict "root" $ "name" NAME). */}}
{{- define "triggerfish.connection.addressed" -}}
{{- $connections := include "triggerfish.connections" .root | fromJson -}}
connection_string: {{ index $connections .name "address" | quote }}
password_file: /etc/triggerfish/passwords/{{ .name }}
{{- end -}}

{{/* The names of the mounted connections that an app's triggers use, as a JSON list: (dict "root" $ "app" APP). */}}
{{- define "triggerfish.app.connections" -}}
{{- $connections := include "triggerfish.connections" .root | fromJson -}}
{{- $names := list -}}
{{- range $trigger := .app.triggers -}}
{{- $name := lower (default "_default" $trigger.connection) -}}
{{- if hasKey $connections $name -}}
{{- $names = append $names $name -}}
{{- end -}}
{{- end -}}
{{- $names | uniq | sortAlpha | toJson -}}
{{- end -}}
