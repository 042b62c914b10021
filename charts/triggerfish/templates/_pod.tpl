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

{{/* The volume mounts of a container: (dict "root" $ "pod" VALUES "connections" NAMES). */}}
{{- define "triggerfish.mounts" -}}
- name: config
  mountPath: /etc/triggerfish/config
  readOnly: true
{{- range $volume, $field := dict "connections" "secretName" "passwords" "passwordSecret" }}
{{- if include "triggerfish.connection.filter" (dict "root" $.root "names" $.connections "of" $field) | fromJsonArray }}
- name: {{ $volume }}
  mountPath: /etc/triggerfish/{{ $volume }}
  readOnly: true
{{- end }}
{{- end }}
- name: tmp
  mountPath: /tmp
{{- with .pod.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The volumes of a pod: (dict "root" $ "pod" VALUES "config" CONFIGMAP "connections" NAMES). */}}
{{- define "triggerfish.volumes" -}}
{{- $connections := include "triggerfish.connections" .root | fromJson -}}
- name: config
  configMap:
    name: {{ .config | quote }}
{{- range $volume, $field := dict "connections" "secretName" "passwords" "passwordSecret" }}
{{- with include "triggerfish.connection.filter" (dict "root" $.root "names" $.connections "of" $field) | fromJsonArray }}
- name: {{ $volume }}
  projected:
    sources:
      {{- range $name := . }}
      {{- $connection := index $connections $name }}
      - secret:
          name: {{ index $connection $field | quote }}
          items:
            - {key: {{ default (ternary "connection" "password" (eq $field "secretName")) $connection.key | quote }}, path: {{ $name | quote }}}
      {{- end }}
{{- end }}
{{- end }}
- name: tmp
  emptyDir: {}
{{- with .pod.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Fields of a container that runs a worker of another library: (dict "root" $ "pod" VALUES). */}}
{{- define "triggerfish.worker" -}}
{{- range $key := list "command" "args" }}
{{- with index $.pod $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
securityContext:
  {{- toYaml .root.Values.securityContext | nindent 2 }}
{{- with .pod.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml .pod.resources | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- with .pod.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
