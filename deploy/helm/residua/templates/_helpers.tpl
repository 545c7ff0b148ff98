{{- define "residua.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "residua.labels" -}}
app.kubernetes.io/name: residua
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* What selects the pods of one service: never changes. Call with (dict "root" $ "service" name). */ -}}
{{- define "residua.selector" -}}
app.kubernetes.io/name: residua
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .service }}
{{- end }}

{{- define "residua.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "residua.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "residua.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{- /* Settings as environment: RESIDUA_NAME for each that is not empty. */ -}}
{{- define "residua.environment" -}}
{{- $values := .root.Values }}
{{- $settings := merge (dict) (.settings | default dict) $values.settings }}
{{- range $name := keys $settings | sortAlpha }}
{{- $value := index $settings $name }}
{{- if not (or (kindIs "invalid" $value) (and (kindIs "string" $value) (eq $value ""))) }}
- name: {{ printf "RESIDUA_%s" (upper $name) }}
  value: {{ ternary (toJson $value) (toString $value) (or (kindIs "slice" $value) (kindIs "map" $value)) | quote }}
{{- end }}
{{- end }}
- name: RESIDUA_METRICS_PORT
  value: {{ $values.metrics.port | quote }}
- name: RESIDUA_CREATE_TOPICS
  value: {{ not $values.hooks.topics | quote }}
{{- range $name, $value := $values.extraEnvironment }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- range $values.secretEnvironment }}
- name: {{ .name }}
  valueFrom:
    secretKeyRef: {{- toYaml .secretKeyRef | nindent 6 }}
{{- end }}
{{- end }}

{{- define "residua.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "residua.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* A pod of one service. Call with (dict "root" $ "service" name "values" .Values.<name>). */ -}}
{{- define "residua.pod" -}}
metadata:
  labels:
    {{- include "residua.selector" . | nindent 4 }}
    {{- with .root.Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    {{- if not .root.Values.metrics.podMonitor.enabled }}
    prometheus.io/scrape: "true"
    prometheus.io/port: {{ .root.Values.metrics.port | quote }}
    {{- end }}
    {{- with .root.Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include "residua.serviceAccount" .root }}
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: {{ .values.terminationGracePeriodSeconds }}
  securityContext: {{- include "residua.podSecurity" . | nindent 4 }}
  {{- with .root.Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .root.Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .service }}
      image: {{ include "residua.image" .root }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      command: [python, -m, residua.{{ .service }}]
      env:
        {{- include "residua.environment" (dict "root" .root "settings" .values.settings) | trim | nindent 8 }}
        {{- with .environment }}{{ . | nindent 8 }}{{ end }}
      ports:
        - {name: metrics, containerPort: {{ .root.Values.metrics.port }}}
        {{- if eq .service "access" }}
        - {name: http, containerPort: 8080}
        {{- end }}
      startupProbe:
        httpGet: {path: /ready, port: metrics}
        periodSeconds: 5
        failureThreshold: 120
      livenessProbe:
        httpGet: {path: /live, port: metrics}
        periodSeconds: 15
        timeoutSeconds: 5
        failureThreshold: 4
      readinessProbe:
        httpGet: {path: /ready, port: metrics}
        periodSeconds: 5
        timeoutSeconds: 5
      resources: {{- toYaml .values.resources | nindent 8 }}
      securityContext: {{- include "residua.containerSecurity" . | nindent 8 }}
      volumeMounts:
        - {name: scratch, mountPath: /tmp}
  volumes:
    - name: scratch
      emptyDir: {}
{{- end }}
