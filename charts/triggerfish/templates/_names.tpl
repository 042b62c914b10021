{{/* The prefix of the names of the scaler's objects. */}}
{{- define "triggerfish.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $long := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $long .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- end -}}

{{- define "triggerfish.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "triggerfish.scaler.name" -}}
{{- include "triggerfish.fullname" . }}-scaler
{{- end -}}

{{/* The headless Service of all scaler pods. */}}
{{- define "triggerfish.scaler.peers" -}}
{{- include "triggerfish.scaler.name" . }}-peers
{{- end -}}

{{/* The scaler's gRPC address, for KEDA. */}}
{{- define "triggerfish.scaler.address" -}}
{{- if .Values.scaler.enabled -}}
{{- include "triggerfish.scaler.name" . }}.{{ include "triggerfish.namespace" . }}.svc:6000
{{- else -}}
{{- required "scaler.address is missing. With scaler.enabled: false, give the address of another release's scaler, such as triggerfish-scaler.triggerfish.svc:6000." .Values.scaler.address -}}
{{- end -}}
{{- end -}}

{{- define "triggerfish.scaler.serviceAccount" -}}
{{- $account := .Values.scaler.serviceAccount -}}
{{- if $account.create }}{{ default (include "triggerfish.scaler.name" .) $account.name }}{{ else }}{{ default "default" $account.name }}{{ end -}}
{{- end -}}

{{/* The labels that select pods and never change: (dict "root" $ "name" NAME "component" COMPONENT). */}}
{{- define "triggerfish.selector" -}}
app.kubernetes.io/name: {{ .name | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* The labels of pods: the same arguments, and "more" LABELS. None depends on the chart's version: a change would restart
every app. */}}
{{- define "triggerfish.podLabels" -}}
{{- $labels := merge (include "triggerfish.selector" . | fromYaml) (dict "app.kubernetes.io/part-of" "triggerfish") -}}
{{- merge $labels (default dict .more) (default dict .root.Values.commonLabels) | toYaml -}}
{{- end -}}

{{/* All labels of an object: the same arguments. The chart's labels take precedence, and no key occurs twice. */}}
{{- define "triggerfish.labels" -}}
{{- $chart := printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" -}}
{{- $labels := dict "app.kubernetes.io/managed-by" .root.Release.Service "helm.sh/chart" $chart -}}
{{- merge $labels (include "triggerfish.podLabels" . | fromYaml) | toYaml -}}
{{- end -}}

{{/* Name, namespace and labels: (dict "root" $ "name" NAME "component" COMPONENT "object" OBJECT'S NAME "more" LABELS). */}}
{{- define "triggerfish.metadata" -}}
name: {{ default .name .object | quote }}
namespace: {{ include "triggerfish.namespace" .root | quote }}
labels:
  {{- include "triggerfish.labels" . | nindent 2 }}
{{- end -}}

{{/* Metadata of the scaler's objects: (dict "root" $ "object" NAME "more" LABELS). "object" defaults to the scaler's name. */}}
{{- define "triggerfish.scaler.metadata" -}}
{{- $object := default (include "triggerfish.scaler.name" .root) .object -}}
{{- include "triggerfish.metadata" (dict "root" .root "name" "triggerfish" "component" "scaler" "object" $object "more" .more) -}}
{{- end -}}

{{- define "triggerfish.scaler.selector" -}}
{{- include "triggerfish.selector" (dict "root" . "name" "triggerfish" "component" "scaler") -}}
{{- end -}}

{{/* An image: (dict "image" IMAGE "tag" DEFAULT TAG). */}}
{{- define "triggerfish.image" -}}
{{- if regexMatch "(@|:[^/]*$)" .image.repository -}}
{{- fail (printf "image.repository: %q contains a tag or a digest. Give that as image.tag or image.digest." .image.repository) -}}
{{- end -}}
{{- if and .image.digest (not (regexMatch "^sha256:[0-9a-f]{64}$" .image.digest)) -}}
{{- fail (printf "image.digest: %q is not a digest. Give sha256: followed by 64 lowercase hexadecimal digits, or use image.tag." .image.digest) -}}
{{- end -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ default .tag .image.tag }}
{{- end -}}
{{- end -}}
