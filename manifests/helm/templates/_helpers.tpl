{{- define "ballast.labels" -}}
app.kubernetes.io/name: ballast
app.kubernetes.io/part-of: ballast
{{- end }}

{{- define "ballast.image" -}}
{{ .Values.image.repository }}
{{- with .Values.image.digest }}@{{ . }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "ballast.listen" -}}
{{ ternary "0.0.0.0" "127.0.0.1" .Values.monitoring.enabled }}:9178
{{- end }}

{{- define "ballast.annotations" -}}
{{- if .Values.monitoring.enabled -}}
prometheus.io/scrape: "true"
prometheus.io/port: "9178"
{{- end }}
{{- end }}

{{- /* The endpoint is on the pod's loopback, which the kubelet cannot reach: a bare interpreter asks it, in 20 ms. */}}
{{- define "ballast.probe" -}}
exec:
  command:
    - python3
    - -ISc
    - |
      import socket, sys
      try:
          with socket.create_connection(("127.0.0.1", 9178), 4) as http:
              http.sendall(f"GET {sys.argv[1]} HTTP/1.0\r\n\r\n".encode())
              answer = http.makefile().read(1024)
      except OSError as error:
          sys.exit(f"no answer: {error}")
      sys.exit(None if " 200 " in answer[:16] else answer)
    - {{ . }}
{{- end }}

{{- define "ballast.probes" -}}
startupProbe:
  {{- include "ballast.probe" "/healthz" | nindent 2 }}
  initialDelaySeconds: 5
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 24
livenessProbe:
  {{- include "ballast.probe" "/healthz" | nindent 2 }}
  periodSeconds: 60
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  {{- include "ballast.probe" "/readyz" | nindent 2 }}
  periodSeconds: 30
  timeoutSeconds: 5
{{- end }}
