{{- define "driftline.name" -}}
{{- if contains "driftline" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-driftline" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "driftline.selector" -}}
app.kubernetes.io/name: driftline-{{ .part }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "driftline.labels" -}}
{{ include "driftline.selector" . }}
{{ include "driftline.common" .root }}
{{- end }}

{{- define "driftline.common" -}}
app.kubernetes.io/part-of: driftline
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "driftline.image" -}}
{{- with .root.Values.image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
driftline-{{ .part }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- define "driftline.hardened" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* The common part of both StatefulSets' pods, before their containers. */}}
{{- define "driftline.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false # the links would set DRIFTLINE_SERVICE_PORT and DRIFTLINE_MONITOR_PORT
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  fsGroup: 10001
  seccompProfile: { type: RuntimeDefault }
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- if .root.Values.models.claim }}
initContainers:
  - name: models
    image: {{ include "driftline.image" . }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args: [provision, /mnt/models]
    securityContext: {{- include "driftline.hardened" . | nindent 6 }}
    resources: { requests: { cpu: 500m, memory: 512Mi }, limits: { memory: 1Gi } }
    {{- with include "driftline.registry" .root }}
    env: {{- . | nindent 6 }}
    {{- end }}
    volumeMounts:
      - { name: models, mountPath: /mnt/models, readOnly: true }
      - { name: home, mountPath: /var/lib/driftline }
      - { name: tmp, mountPath: /tmp }
{{- end }}
{{- end }}

{{- define "driftline.registry" -}}
{{- with .Values.secrets.registry -}}
- name: DRIFTLINE_REGISTRY
  valueFrom: { secretKeyRef: { name: {{ . }}, key: url } }
{{- end }}
{{- end }}

{{- define "driftline.envFrom" -}}
- configMapRef: { name: {{ include "driftline.name" . }} }
{{- with .Values.secrets.artifacts }}
- secretRef: { name: {{ . }} }
{{- end }}
{{- end }}

{{- define "driftline.volumes" -}}
{{- with .root.Values.models.claim }}
- { name: models, persistentVolumeClaim: { claimName: {{ . }}, readOnly: true } }
{{- end }}
- { name: keys, secret: { secretName: {{ .root.Values.secrets.keys }} } }
{{- end }}

{{- define "driftline.claim" -}}
- metadata: { name: home }
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .storageClass }}
    storageClassName: {{ . }}
    {{- end }}
    resources: { requests: { storage: {{ .storage }} } }
{{- end }}
