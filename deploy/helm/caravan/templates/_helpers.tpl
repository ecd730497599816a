{{- define "caravan.name" -}}
{{- printf "%s-%s" .root.Release.Name .service | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "caravan.labels" -}}
app.kubernetes.io/name: caravan
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end -}}

{{- define "caravan.selector" -}}
app.kubernetes.io/name: caravan
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .service }}
{{- end -}}

{{- define "caravan.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{/* Settings that all services and the migration share. */}}
{{- define "caravan.env" -}}
- name: CARAVAN_MODE
  value: production
- name: CARAVAN_ISSUER
  value: {{ .Values.issuer | quote }}
- name: CARAVAN_AUDIENCE
  value: {{ .Values.audience | quote }}
- name: CARAVAN_JWKS
  value: {{ .Values.jwks | quote }}
- name: CARAVAN_SERVICE_KEY
  value: /etc/caravan/keys/service-key.pem
- name: CARAVAN_ZONE
  value: {{ .Values.zone | quote }}
- name: CARAVAN_LOG_LEVEL
  value: {{ .Values.logLevel | quote }}
- name: CARAVAN_DATA_DIR
  value: /var/lib/caravan
{{- end -}}

{{- define "caravan.database" -}}
- name: CARAVAN_{{ .service | upper }}_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .root.Values.databases.secretName }}
      key: {{ .service }}
{{- end -}}

{{- define "caravan.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "caravan.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}
