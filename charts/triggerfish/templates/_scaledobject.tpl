{{/* An app's ScaledObject: (dict "root" $ "name" NAME "app" APP). */}}
{{- define "triggerfish.scaledobject" -}}
{{- $context := . -}}
{{- $scaling := .app.scaling -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  {{- include "triggerfish.app.metadata" . | nindent 2 }}
  annotations:
    {{- /* Argo CD applies it once the scaler is ready. */}}
    {{- merge (dict) $scaling.annotations (dict "argocd.argoproj.io/sync-wave" "1") | toYaml | nindent 4 }}
spec:
  scaleTargetRef:
    name: {{ .name | quote }}
  minReplicaCount: {{ include "triggerfish.app.minReplicas" . }}
  maxReplicaCount: {{ include "triggerfish.app.maxReplicas" . }}
  pollingInterval: {{ int $scaling.pollingInterval }}
  cooldownPeriod: {{ int $scaling.cooldownPeriod }}
  {{- with $scaling.fallback }}
  fallback:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        {{- include "triggerfish.behavior" . | nindent 8 }}
  triggers:
    {{- range $function, $trigger := .app.triggers }}
    - type: external-push
      name: {{ $function | quote }}
      # The scaler returns a number of instances as the metric value, and 1 as its target.
      metricType: AverageValue
      metadata:
        scalerAddress: {{ include "triggerfish.scaler.address" $context.root }}
        {{- if $context.root.Values.tls.enabled }}
        enableTLS: "true"
        {{- end }}
        {{- include "triggerfish.trigger.metadata" (merge (dict "function" $function "trigger" $trigger) $context) | nindent 8 }}
      {{- if $context.root.Values.tls.enabled }}
      authenticationRef:
        name: {{ include "triggerfish.scaler.name" $context.root }}
      {{- end }}
    {{- end }}
{{- end -}}

{{/* The ScaledObjects of all apps, except those with pub/sub triggers only. */}}
{{- define "triggerfish.scaledobjects" -}}
{{- range $name, $given := .Values.apps }}
{{- $context := dict "root" $ "name" $name "app" (include "triggerfish.app" (dict "root" $ "app" $given) | fromYaml) }}
{{- if ne (include "triggerfish.app.kind" $context) "pubsub" }}
---
{{ include "triggerfish.scaledobject" $context }}
{{- end }}
{{- end }}
{{- end -}}
