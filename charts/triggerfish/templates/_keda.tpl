{{/* KEDA's version, from keda.version or else the image of its operator; empty where it is unknown, such as in
`helm template`. With keda.allowOlder nothing is read: a template cannot catch that the installer may not. */}}
{{- define "triggerfish.keda.version" -}}
{{- $version := .Values.keda.version -}}
{{- if not (or $version .Values.keda.allowOlder) -}}
{{- range (lookup "apps/v1" "Deployment" .Values.networkPolicy.kedaNamespace "").items -}}
{{- range .spec.template.spec.containers -}}
{{- with regexFind "(^|/)keda:v?[0-9]+[.][0-9]+[.][0-9]+" .image -}}
{{- $version = splitList ":" . | last -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $version | trimPrefix "v" -}}
{{- end -}}

{{/* "true" if KEDA is known to be older than the chart requires. */}}
{{- define "triggerfish.keda.old" -}}
{{- with include "triggerfish.keda.version" . -}}
{{- if semverCompare "<2.20.2-0" . }}true{{ end -}}
{{- end -}}
{{- end -}}

{{/* The behavior of an app's HPA, as YAML: (dict "root" $ "app" APP). The API server drops `tolerance` before Kubernetes
1.35, and an older KEDA would then rewrite the HPA at every reconcile. */}}
{{- define "triggerfish.behavior" -}}
{{- $behavior := deepCopy .app.scaling.behavior -}}
{{- $known := include "triggerfish.keda.version" .root -}}
{{- if and $known (not (include "triggerfish.keda.old" .root)) (semverCompare ">=1.35.0-0" .root.Capabilities.KubeVersion.Version) -}}
{{- range $direction := list "scaleUp" "scaleDown" -}}
{{- $rules := default dict (index $behavior $direction) -}}
{{- $behavior = set $behavior $direction (merge $rules (dict "tolerance" (toString $.app.scaling.tolerance))) -}}
{{- end -}}
{{- end -}}
{{- toYaml $behavior -}}
{{- end -}}
