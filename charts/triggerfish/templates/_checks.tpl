{{/* Mistakes that the schema cannot see, each with what to do. */}}
{{- define "triggerfish.checks" -}}
{{- include "triggerfish.checks.tls" . -}}
{{- if .Values.scaler.enabled -}}
{{- include "triggerfish.checks.env" (dict "root" . "path" "scaler" "pod" .Values.scaler) -}}
{{- end -}}
{{- range $name, $connection := .Values.connections -}}
{{- if not $connection.secretName -}}
{{- fail (printf "connections.%s.secretName is missing: name an existing Secret that holds the connection string." $name) -}}
{{- end -}}
{{- end -}}
{{- range $name := .Values.valkey.connections -}}
{{- if hasKey (default dict $.Values.connections) $name -}}
{{- fail (printf "valkey.connections: %q is in connections too: keep one." $name) -}}
{{- end -}}
{{- end -}}
{{- range $name, $given := .Values.apps -}}
{{- $app := include "triggerfish.app" (dict "root" $ "app" $given) | fromYaml -}}
{{- $context := dict "root" $ "name" $name "app" $app "path" (printf "apps.%s" $name) -}}
{{- include "triggerfish.checks.app" $context -}}
{{- include "triggerfish.checks.env" (dict "root" $ "path" $context.path "pod" $app) -}}
{{- include "triggerfish.checks.scaling" $context -}}
{{- range $function, $trigger := $app.triggers -}}
{{- include "triggerfish.checks.trigger" (merge (dict "path" (printf "apps.%s.triggers.%s" $name $function) "trigger" $trigger) $context) -}}
{{- end -}}
{{- end -}}
{{- include "triggerfish.checks.accounts" . -}}
{{- end -}}

{{/* A service account that several pods share is created once, by one of them or by nobody of this release. */}}
{{- define "triggerfish.checks.accounts" -}}
{{- $created := dict -}}
{{- if and .Values.scaler.enabled .Values.scaler.serviceAccount.create -}}
{{- $created = dict (include "triggerfish.scaler.serviceAccount" .) "scaler" -}}
{{- end -}}
{{- range $name, $given := .Values.apps -}}
{{- $app := include "triggerfish.app" (dict "root" $ "app" $given) | fromYaml -}}
{{- if $app.serviceAccount.create -}}
{{- $account := include "triggerfish.app.serviceAccount" (dict "name" $name "app" $app) -}}
{{- with index $created $account -}}
{{- fail (printf "apps.%s.serviceAccount.name: %s creates %q too: to share it, set create: false in one of them." $name . $account) -}}
{{- end -}}
{{- $created = set $created $account (printf "apps.%s" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A variable that is there twice is refused by server-side apply: (dict "root" $ "path" PATH "pod" VALUES). */}}
{{- define "triggerfish.checks.env" -}}
{{- range .pod.extraEnv -}}
{{- if eq .name "TRIGGERFISH_LOG" -}}
{{- fail (printf "%s.extraEnv: the chart sets TRIGGERFISH_LOG itself: use %s.logLevel." $.path $.path) -}}
{{- end -}}
{{- if and (eq .name "TRIGGERFISH_CONNECTION") (include "triggerfish.connection.env" $.root) -}}
{{- fail (printf "%s.extraEnv: the chart sets TRIGGERFISH_CONNECTION itself: use connection.secretName, or a name in connections." $.path) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "triggerfish.checks.tls" -}}
{{- $tls := .Values.tls -}}
{{- if and $tls.enabled $tls.certManager.enabled (not $tls.certManager.issuerRef.name) -}}
{{- fail "tls.certManager.issuerRef.name is missing: name the Issuer that signs the certificates." -}}
{{- end -}}
{{- if and $tls.enabled (not $tls.certManager.enabled) -}}
{{- if and .Values.scaler.enabled (not $tls.secretName) -}}
{{- fail "tls.secretName is missing: name a Secret with tls.crt, tls.key and ca.crt, or set tls.certManager.enabled." -}}
{{- end -}}
{{- if and (not .Values.scaler.enabled) (not $tls.secretName) (not $tls.clientSecretName) -}}
{{- fail "tls.secretName is missing: name a Secret with the ca.crt of the scaler's certificate, so that KEDA trusts it." -}}
{{- end -}}
{{- if and $tls.mutual (not $tls.clientSecretName) -}}
{{- fail "tls.clientSecretName is missing: name a Secret with the tls.crt, tls.key and ca.crt that KEDA uses, or set tls.certManager.enabled." -}}
{{- end -}}
{{- end -}}
{{- if and $tls.mutual (not $tls.enabled) -}}
{{- fail "tls.mutual needs tls.enabled: set both, or none." -}}
{{- end -}}
{{- end -}}

{{- define "triggerfish.checks.app" -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" .name) -}}
{{- fail (printf "%s: objects of Kubernetes cannot have this name: use lower case letters, digits and hyphens, at most 63." .path) -}}
{{- end -}}
{{- if not .app.image.repository -}}
{{- fail (printf "%s.image.repository is missing: name the image that has the app's code and Triggerfish." .path) -}}
{{- end -}}
{{- if and (not .app.image.tag) (not .app.image.digest) -}}
{{- fail (printf "%s.image.tag is missing: give a tag or a digest; what runs must not change by itself." .path) -}}
{{- end -}}
{{- if not .app.app -}}
{{- fail (printf "%s.app is missing: give the argument of `triggerfish run`, such as %s.py." .path .name) -}}
{{- end -}}
{{- if not .app.triggers -}}
{{- fail (printf "%s.triggers is missing: `triggerfish manifest %s --helm-values` writes them." .path .app.app) -}}
{{- end -}}
{{- $full := include "triggerfish.fullname" .root -}}
{{- range $end := list "scaler" "scaler-test" "valkey" "triggerfish" -}}
{{- if eq $.name (printf "%s-%s" $full $end) -}}
{{- fail (printf "%s: another object of this release has this name: choose another, or set fullnameOverride." $.path) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "triggerfish.checks.scaling" -}}
{{- $scaling := .app.scaling -}}
{{- $least := include "triggerfish.app.minReplicas" . | int -}}
{{- $most := include "triggerfish.app.maxReplicas" . | int -}}
{{- if and $scaling.metricType (ne $scaling.metricType "AverageValue") -}}
{{- fail (printf "%s.scaling.metricType: %q never stops growing, as the scaler answers with instances and a target of 1: remove it, KEDA's default AverageValue is right." .path $scaling.metricType) -}}
{{- end -}}
{{- if eq (include "triggerfish.app.shape" .) "pubsub" -}}
{{- range $key := list "minReplicas" "maxReplicas" -}}
{{- $given := index $scaling $key -}}
{{- if and (not (kindIs "invalid" $given)) (gt (int $given) 1) -}}
{{- fail (printf "%s.scaling.%s: %d, but all of its triggers are pub/sub, which runs in one instance: more would only stand by. Remove it." $.path $key (int $given)) -}}
{{- end -}}
{{- end -}}
{{- else if gt $least $most -}}
{{- fail (printf "%s.scaling.minReplicas: %d is above maxReplicas %d: lower it, or raise maxReplicas." .path $least $most) -}}
{{- end -}}
{{- with $scaling.fallback -}}
{{- if or (kindIs "invalid" .replicas) (kindIs "invalid" .failureThreshold) -}}
{{- fail (printf "%s.scaling.fallback needs both failureThreshold and replicas: give both, or neither." $.path) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "triggerfish.checks.trigger" -}}
{{- $values := .root.Values -}}
{{- if hasKey .trigger "connectionString" -}}
{{- fail (printf "%s.connectionString: values and ScaledObjects are no place for secrets. Put it into a Secret, add that to connections, and name it with connection." .path) -}}
{{- end -}}
{{- if kindIs "slice" .trigger.keys -}}
{{- range $key := .trigger.keys -}}
{{- if regexMatch "\\s" $key -}}
{{- fail (printf "%s.keys: metadata has keys with spaces between them, so that %q would be taken apart: rename it." $.path $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $connection := lower (default "" .trigger.connection) -}}
{{- if $connection -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9_.]{0,251}[a-z0-9])?$" $connection) -}}
{{- fail (printf "%s.connection is not the name of a connection, and is not shown as it may hold a password: put a connection string into a Secret, add that to connections, and give its name here." .path) -}}
{{- end -}}
{{- if not (or (hasKey (default dict $values.connections) $connection) (has $connection $values.valkey.connections)) -}}
{{- fail (printf "%s.connection: there is no connection %q: add it to connections, as %s: {secretName: ...}." .path $connection $connection) -}}
{{- end -}}
{{- else if not (or $values.connection.secretName $values.valkey.enabled) -}}
{{- fail (printf "%s names no connection, and there is no default: set connection.secretName, or name one of connections." .path) -}}
{{- end -}}
{{- end -}}
