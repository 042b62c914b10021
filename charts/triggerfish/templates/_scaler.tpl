{{/* The scaler's settings. */}}
{{- define "triggerfish.scaler.config" -}}
{{- include "triggerfish.connection.settings" (dict "root" . "names" (include "triggerfish.connection.names" . | fromJsonArray)) | trim }}
{{- $scaler := dict "grpc_port" 6000 "http_port" 8080 "grace_period_seconds" .Values.scaler.gracePeriodSeconds }}
{{- $scaler = set $scaler "peers" (printf "%s.%s.svc:8080" (include "triggerfish.scaler.peers" .) (include "triggerfish.namespace" .)) }}
{{- if .Values.tls.enabled }}
{{- $files := dict "certificate_file" "/etc/triggerfish/tls/tls.crt" "key_file" "/etc/triggerfish/tls/tls.key" }}
{{- if .Values.tls.mutual }}
{{- $files = set $files "client_ca_file" "/etc/triggerfish/tls/ca.crt" }}
{{- end }}
{{- $scaler = set $scaler "tls" $files }}
{{- end }}
scaler:
  {{- merge $scaler .Values.scaler.settings | toYaml | nindent 2 }}
{{- with include "triggerfish.declared" . }}
# Declared triggers are sampled even if KEDA does not poll them, so their metrics are complete.
triggers:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The triggers of all apps, in the format of the scaler's settings. */}}
{{- define "triggerfish.declared" -}}
{{- range $name, $given := .Values.apps }}
{{- $app := include "triggerfish.app" (dict "root" $ "app" $given) | fromYaml }}
{{- range $function, $trigger := $app.triggers }}
{{ printf "%s.%s" $name $function | quote }}:
  {{- include "triggerfish.trigger.metadata" (dict "app" $app "name" $name "function" $function "trigger" $trigger) | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The name of the Secret with the scaler's certificate. */}}
{{- define "triggerfish.tls.secret" -}}
{{- default (printf "%s-tls" (include "triggerfish.scaler.name" .)) .Values.tls.secretName -}}
{{- end -}}

{{/* The name of the Secret with the certificates that KEDA needs to call the scaler. */}}
{{- define "triggerfish.tls.clientSecret" -}}
{{- if .Values.tls.mutual -}}
{{- default (printf "%s-client-tls" (include "triggerfish.scaler.name" .)) .Values.tls.clientSecretName -}}
{{- else -}}
{{- default (include "triggerfish.tls.secret" .) .Values.tls.clientSecretName -}}
{{- end -}}
{{- end -}}
