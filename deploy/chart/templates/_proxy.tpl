{{/*
What both processes of a proxy's pod are started with: the one that talks to clients, and the one that reads the cluster for it.
*/}}

{{- define "nearside.proxyArguments" -}}
{{- $proxy := .Values.proxy -}}
- {{ printf "--log-format=%s" .Values.logFormat | quote }}
- {{ printf "--router-name=%s" .Values.routerName | quote }}
- {{ printf "--ingress-class=%s" .Values.ingressClass.name | quote }}
{{- range $proxy.httpListen }}
- {{ printf "--http-listen=%s" . | quote }}
{{- end }}
{{- range $proxy.httpsListen }}
- {{ printf "--https-listen=%s" . | quote }}
{{- end }}
{{- include "nearside.arguments" .Values.serving | trim | nindent 0 }}
{{- include "nearside.arguments" $proxy.options | trim | nindent 0 }}
{{- include "nearside.fileArguments" $proxy.files | trim | nindent 0 }}
{{- range $proxy.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{/* Their variables, but for those of one of them alone. */}}
{{- define "nearside.proxyEnvironment" -}}
{{- $proxy := .Values.proxy -}}
- name: NEARSIDE_NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- include "nearside.switches" .Values.serving | trim | nindent 0 }}
{{- include "nearside.switches" $proxy.options | trim | nindent 0 }}
{{- with $proxy.extraEnv }}
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end -}}
