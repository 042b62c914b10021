{{/* Fields of every pod: (dict "root" $ "pod" VALUES). */}}
{{- define "triggerfish.pod" -}}
# Environment variables for a Service named triggerfish-... would be read as settings.
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .root.Values.podSecurityContext | nindent 2 }}
{{- range $key := list "nodeSelector" "tolerations" "topologySpreadConstraints" }}
{{- with index $.pod $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .pod.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* Fields of every container, apart from its command: (dict "root" $ "pod" VALUES). */}}
{{- define "triggerfish.container" -}}
securityContext:
  {{- toYaml .root.Values.securityContext | nindent 2 }}
env:
  - name: TRIGGERFISH_LOG
    value: {{ .pod.logLevel }}
  {{- with include "triggerfish.connection.env" .root }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with .pod.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .pod.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml .pod.resources | nindent 2 }}
{{- end -}}

{{/* The volume mounts of a container: (dict "pod" VALUES "connections" NAMES). */}}
{{- define "triggerfish.mounts" -}}
- name: config
  mountPath: /etc/triggerfish/config
  readOnly: true
{{- if .connections }}
- name: connections
  mountPath: /etc/triggerfish/connections
  readOnly: true
{{- end }}
- name: tmp
  mountPath: /tmp
{{- with .pod.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The volumes of a pod: (dict "root" $ "pod" VALUES "config" CONFIGMAP "connections" NAMES). */}}
{{- define "triggerfish.volumes" -}}
- name: config
  configMap:
    name: {{ .config | quote }}
{{- if .connections }}
- name: connections
  projected:
    sources:
      {{- range $name := .connections }}
      {{- $connection := index $.root.Values.connections $name }}
      - secret:
          name: {{ $connection.secretName | quote }}
          items:
            - {key: {{ default "connection" $connection.key | quote }}, path: {{ $name | quote }}}
      {{- end }}
{{- end }}
- name: tmp
  emptyDir: {}
{{- with .pod.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
