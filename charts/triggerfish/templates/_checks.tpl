{{/* Errors that the schema cannot detect, each with its fix. */}}
{{- define "triggerfish.checks" -}}
{{- include "triggerfish.checks.tls" . -}}
{{- include "triggerfish.checks.keda" . -}}
{{- if .Values.scaler.enabled -}}
{{- if not .Values.image.repository -}}
{{- fail "image.repository is missing. Give the name of an image of Triggerfish." -}}
{{- end -}}
{{- include "triggerfish.checks.env" (dict "root" . "path" "scaler" "pod" .Values.scaler) -}}
{{- end -}}
{{- with .Values.connection -}}
{{- include "triggerfish.checks.connection" (dict "path" "connection" "connection" .) -}}
{{- end -}}
{{- range $name, $connection := .Values.connections -}}
{{- include "triggerfish.checks.connection" (dict "path" (printf "connections.%s" $name) "connection" $connection) -}}
{{- end -}}
{{- range $name := .Values.valkey.connections -}}
{{- if hasKey (default dict $.Values.connections) $name -}}
{{- fail (printf "valkey.connections: %q is also in connections. Remove one of them." $name) -}}
{{- end -}}
{{- end -}}
{{- range $name, $given := .Values.apps -}}
{{- $app := include "triggerfish.app" (dict "root" $ "app" $given) | fromYaml -}}
{{- $context := dict "root" $ "name" $name "app" $app "path" (printf "apps.%s" $name) -}}
{{- include "triggerfish.checks.app" $context -}}
{{- include "triggerfish.checks.env" (dict "root" $ "path" $context.path "pod" $app) -}}
{{- include "triggerfish.checks.scaling" $context -}}
{{- range $function, $trigger := $app.triggers -}}
{{- include "triggerfish.checks.trigger" (merge (dict "path" (ternary (printf "apps.%s.queue" $name) (printf "apps.%s.triggers.%s" $name $function) (not (empty $app.queue))) "trigger" $trigger) $context) -}}
{{- end -}}
{{- end -}}
{{- include "triggerfish.checks.accounts" . -}}
{{- end -}}

{{/* A connection's Secret holds a connection string or only a password: (dict "path" PATH "connection" CONNECTION). */}}
{{- define "triggerfish.checks.connection" -}}
{{- if not (or .connection.secretName .connection.passwordSecret) -}}
{{- fail (printf "%s.secretName is missing. Give the name of an existing Secret that holds the connection string. If the Secret holds only a password, give its name as passwordSecret, and the address." .path) -}}
{{- end -}}
{{- if and .connection.secretName (or .connection.passwordSecret .connection.address) -}}
{{- fail (printf "%s has secretName together with address or passwordSecret. Keep secretName if the Secret holds a connection string, and the other two if it holds only a password." .path) -}}
{{- end -}}
{{- if and .connection.passwordSecret (not .connection.address) -}}
{{- fail (printf "%s.address is missing. Give host:port, and options such as ssl=True and user=shop: cache.example:6380,ssl=True." .path) -}}
{{- end -}}
{{- $address := default "" .connection.address | trim -}}
{{- if regexMatch "(?i)password|@" $address -}}
{{- fail (printf "%s.address contains a password, or an @ before which one may be. Its value is not shown. Remove the password: it is read from passwordSecret. Give a user as cache.example:6380,user=shop." .path) -}}
{{- end -}}
{{- /* One host and one port in a URL; else host:port,host:port,option=value. What it cannot be may be a password. */}}
{{- $place := "([A-Za-z0-9_.-]+|\\[[0-9A-Fa-f:.%]+\\])" -}}
{{- $options := "(user|ssl|sslHost|defaultDatabase|serviceName|sentinelUser|abortConnect|allowAdmin|asyncTimeout|configChannel|configCheckSeconds|connectRetry|connectTimeout|heartbeatConsistencyChecks|heartbeatInterval|highIntegrity|highPrioritySocketThreads|highPriorityThreads|includeDetailInExceptions|includePerformanceCountersInExceptions|keepAlive|name|preserveAsyncOrder|protocol|resolveDns|responseTimeout|setlib|syncTimeout|tiebreaker|version|writeBuffer)" -}}
{{- $url := printf "(?i)^(redis|rediss|valkey|valkeys)://%s(:[0-9]+)?(/[0-9]*)?$" $place -}}
{{- $string := printf "(?i)^%s(:[0-9]+)?( *, *%s:[0-9]+)*( *, *%s *= *[^,]*)*,?$" $place $place $options -}}
{{- if and $address (not (or (regexMatch $url $address) (and (regexMatch $string $address) (regexMatch "(?i)[:,]|^[0-9.]+$|^localhost$|[.](windows|azure|chinacloudapi|usgovcloudapi)[.](net|cn)$" $address)))) -}}
{{- fail (printf "%s.address is not host:port with options, or redis://host:port. Its value is not shown, because it may contain a password. Write cache.example:6380,ssl=True,user=shop." .path) -}}
{{- end -}}
{{- end -}}

{{/* A service account that several Deployments share is created by at most one of them. */}}
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
{{- fail (printf "apps.%s.serviceAccount.name: %s also creates %q. To share it, set create: false in one of them." $name . $account) -}}
{{- end -}}
{{- $created = set $created $account (printf "apps.%s" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Server-side apply rejects a duplicate environment variable: (dict "root" $ "path" PATH "pod" VALUES). */}}
{{- define "triggerfish.checks.env" -}}
{{- $names := list -}}
{{- range .pod.extraEnv -}}
{{- $name := upper .name -}}
{{- if has .name $names -}}
{{- fail (printf "%s.extraEnv: %s is given twice. Keep one." $.path .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- if eq $name "TRIGGERFISH_LOG" -}}
{{- fail (printf "%s.extraEnv: the chart already sets TRIGGERFISH_LOG. Use %s.logLevel instead." $.path $.path) -}}
{{- end -}}
{{- if regexMatch "^TRIGGERFISH_(HOST|SCALER)__(GRPC_HOST|GRPC_PORT|HTTP_HOST|HTTP_PORT|PEERS|TLS|TLS__.*|GRACE_PERIOD_SECONDS|PUBSUB_LEASE)$" $name -}}
{{- fail (printf "%s.extraEnv: the chart sets what %s would change: probes, Services and other objects depend on it. Remove it, and use gracePeriodSeconds, pubsubLease or tls for what these set." $.path .name) -}}
{{- end -}}
{{- if and (eq $name "TRIGGERFISH_CONNECTION") (or $.root.Values.connection $.root.Values.valkey.enabled) -}}
{{- fail (printf "%s.extraEnv: the chart already sets the default connection. Remove TRIGGERFISH_CONNECTION, and use connection, or a named connection in connections." $.path) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "triggerfish.checks.tls" -}}
{{- $tls := .Values.tls -}}
{{- if and $tls.enabled $tls.certManager.enabled (not $tls.certManager.issuerRef.name) -}}
{{- fail "tls.certManager.issuerRef.name is missing. Give the name of the Issuer that signs the certificates." -}}
{{- end -}}
{{- if and $tls.enabled (not $tls.certManager.enabled) -}}
{{- if and .Values.scaler.enabled (not $tls.secretName) -}}
{{- fail "tls.secretName is missing. Give the name of a Secret with tls.crt, tls.key and ca.crt, or set tls.certManager.enabled to true." -}}
{{- end -}}
{{- if and (not .Values.scaler.enabled) (not $tls.secretName) (not $tls.clientSecretName) -}}
{{- fail "tls.secretName is missing. Give the name of a Secret with the ca.crt of the scaler's certificate, so that KEDA trusts it." -}}
{{- end -}}
{{- if and $tls.mutual (not $tls.clientSecretName) -}}
{{- fail "tls.clientSecretName is missing. Give the name of a Secret with the tls.crt, tls.key and ca.crt that KEDA uses, or set tls.certManager.enabled to true." -}}
{{- end -}}
{{- end -}}
{{- if and $tls.mutual (not $tls.enabled) -}}
{{- fail "tls.mutual needs tls.enabled. Set both or neither." -}}
{{- end -}}
{{- end -}}

{{- define "triggerfish.checks.keda" -}}
{{- if and (include "triggerfish.keda.old" .) (not .Values.keda.allowOlder) (include "triggerfish.scaledobjects" . | trim) -}}
{{- fail (printf "keda.version: KEDA is %s. Before 2.20.2 it makes an HPA that scales by CPU, and never corrects it, if the scaler does not answer yet when an app is installed. Upgrade KEDA. Or set keda.allowOlder: true, and delete such an HPA once the scaler is ready." (include "triggerfish.keda.version" .)) -}}
{{- end -}}
{{- end -}}

{{- define "triggerfish.checks.app" -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" .name) -}}
{{- fail (printf "%s: not a valid name for Kubernetes objects. Use lowercase letters, digits and hyphens, at most 63 characters, with a letter or digit first and last." .path) -}}
{{- end -}}
{{- if not .app.image.repository -}}
{{- fail (printf "%s.image.repository is missing. Give the name of an image with the app's code and Triggerfish." .path) -}}
{{- end -}}
{{- if and (not .app.image.tag) (not .app.image.digest) -}}
{{- fail (printf "%s.image.tag is missing. Give a tag or a digest, so that the running version is fixed." .path) -}}
{{- end -}}
{{- if .app.queue -}}
{{- include "triggerfish.checks.queue" . -}}
{{- else -}}
{{- range $key := list "command" "args" -}}
{{- if index $.app $key -}}
{{- fail (printf "%s.%s is for the workers of another library, and the app has no queue. Remove it; an app of Triggerfish runs `triggerfish run`." $.path $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (not .app.app) (not .app.queue) -}}
{{- fail (printf "%s.app is missing. Give the argument of `triggerfish run`, such as %s.py." .path .name) -}}
{{- end -}}
{{- if not .app.triggers -}}
{{- fail (printf "%s.triggers is missing. Print the triggers with `triggerfish manifest %s --helm-values`." .path .app.app) -}}
{{- end -}}
{{- $full := include "triggerfish.fullname" .root -}}
{{- range $suffix := list "scaler" "scaler-test" "scaler-peers" "valkey" "triggerfish" -}}
{{- if eq $.name (printf "%s-%s" $full $suffix) -}}
{{- fail (printf "%s: another object of this release has this name. Choose a different name, or set fullnameOverride." $.path) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The values of an app of another library, which has no host of Triggerfish. */}}
{{- define "triggerfish.checks.queue" -}}
{{- range $key := list "app" "name" "settings" -}}
{{- if index $.app $key -}}
{{- fail (printf "%s.%s is for apps of Triggerfish, and %s.queue for those of other libraries. Remove one of them." $.path $key $.path) -}}
{{- end -}}
{{- end -}}
{{- if ne (toJson .app.triggers) (toJson (dict "queue" .app.queue)) -}}
{{- fail (printf "%s.triggers is for apps of Triggerfish, and %s.queue for those of other libraries. Remove one of them." .path .path) -}}
{{- end -}}
{{- if not .app.queue.type -}}
{{- fail (printf "%s.queue.type is missing. Give the type of the queue, such as CeleryQueue." .path) -}}
{{- end -}}
{{- end -}}

{{- define "triggerfish.checks.scaling" -}}
{{- $scaling := .app.scaling -}}
{{- $minReplicas := include "triggerfish.app.minReplicas" . | int -}}
{{- $maxReplicas := include "triggerfish.app.maxReplicas" . | int -}}
{{- if and $scaling.metricType (ne $scaling.metricType "AverageValue") -}}
{{- fail (printf "%s.scaling.metricType: with %q the app scales up without end, because the scaler returns a number of instances and a target of 1. Remove it; KEDA's default, AverageValue, is right." .path $scaling.metricType) -}}
{{- end -}}
{{- if eq (include "triggerfish.app.kind" .) "pubsub" -}}
{{- range $key := list "minReplicas" "maxReplicas" -}}
{{- $given := index $scaling $key -}}
{{- if and (not (kindIs "invalid" $given)) (gt (int $given) 1) -}}
{{- fail (printf "%s.scaling.%s is %d, but all of the app's triggers are pub/sub, which runs in one instance; further instances would be on standby. Remove it." $.path $key (int $given)) -}}
{{- end -}}
{{- end -}}
{{- else if gt $minReplicas $maxReplicas -}}
{{- fail (printf "%s.scaling.minReplicas: %d is above maxReplicas %d. Lower it, or raise maxReplicas." .path $minReplicas $maxReplicas) -}}
{{- end -}}
{{- with $scaling.fallback -}}
{{- if or (kindIs "invalid" .replicas) (kindIs "invalid" .failureThreshold) -}}
{{- fail (printf "%s.scaling.fallback needs both failureThreshold and replicas. Set both or neither." $.path) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "triggerfish.checks.trigger" -}}
{{- $values := .root.Values -}}
{{- if hasKey .trigger "connectionString" -}}
{{- fail (printf "%s.connectionString: values and ScaledObjects must not contain secrets. Put the connection string into a Secret, add the Secret to connections, and set connection to its name there." .path) -}}
{{- end -}}
{{- range $field := list "keys" "channel" "consumerGroup" -}}
{{- if regexMatch "%[A-Za-z_][A-Za-z0-9_:.-]*%" (toString (default "" (index $.trigger $field))) -}}
{{- fail (printf "%s.%s: only Azure Functions replaces placeholders such as %%NAME%% by app settings. Write the value itself." $.path $field) -}}
{{- end -}}
{{- end -}}
{{- if kindIs "slice" .trigger.keys -}}
{{- range $key := .trigger.keys -}}
{{- if regexMatch "\\s" $key -}}
{{- fail (printf "%s.keys: keys are separated by spaces in the metadata, so %q would be split. Rename it." $.path $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $connection := lower (default "" .trigger.connection) -}}
{{- if $connection -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9_.]{0,251}[a-z0-9])?$" $connection) -}}
{{- fail (printf "%s.connection is not a connection name. Its value is not shown, because it may contain a password. Put a connection string into a Secret, add the Secret to connections, and set connection to its name there." .path) -}}
{{- end -}}
{{- if not (or (hasKey (default dict $values.connections) $connection) (has $connection $values.valkey.connections)) -}}
{{- fail (printf "%s.connection: no connection %q. Add it to connections, as %s: {secretName: ...}." .path $connection $connection) -}}
{{- end -}}
{{- else if not (or $values.connection $values.valkey.enabled) -}}
{{- fail (printf "%s names no connection, and there is no default. Set connection.secretName, or set the trigger's connection to a name in connections." .path) -}}
{{- end -}}
{{- end -}}
