{{/*
Parts that the pods of all three programs share.
*/}}

{{/* Where a program keeps what it knew last, so that it starts without the API server. In memory: it may hold private keys. */}}
{{- define "nearside.snapshotVolume" -}}
{{- if .Values.snapshot.enabled }}
- name: snapshot
  emptyDir:
    medium: Memory
    sizeLimit: {{ .Values.snapshot.sizeLimit }}
{{- end }}
{{- end -}}

{{- define "nearside.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Where the pods of a program may run, and what they are worth: (list . .Values.controller). */}}
{{- define "nearside.scheduling" -}}
{{- $program := index . 1 -}}
{{- with $program.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $program.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $program.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $program.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Replicas on different nodes and in different zones where that is possible: (list . "controller"). */}}
{{- define "nearside.spread" -}}
{{- $spread := . -}}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "nearside.selector" $spread | nindent 8 }}
  {{- end }}
{{- end -}}

{{/* No privilege at all. */}}
{{- define "nearside.closed" -}}
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Any user that is not root; the image names one, and OpenShift gives one of the namespace's own. */}}
{{- define "nearside.podSecurity" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Where the admin port of a proxy is: for the node alone, unless metrics are collected from elsewhere. */}}
{{- define "nearside.proxyAdmin" -}}
{{- if .Values.proxy.adminListen -}}
{{ .Values.proxy.adminListen }}
{{- else if .Values.monitoring.enabled -}}
[::]:1936
{{- else -}}
127.0.0.1:1936
{{- end -}}
{{- end -}}

{{/* Where two proxies of a node meet: in a directory of the node, or in its network namespace under a name that no other release has. */}}
{{- define "nearside.handoverSocket" -}}
{{- if .Values.proxy.handover.hostPath -}}
/run/nearside-handover/proxy.sock
{{- else -}}
{{ printf "@%s/%s-proxy" .Release.Namespace (include "nearside.name" .) | trunc 98 }}
{{- end -}}
{{- end -}}
