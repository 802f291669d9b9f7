{{/*
Names and labels, in one place so that selectors and what they select cannot differ. A release called "nearside" has the plain
names; another one carries its own in each, so that several can live in a cluster.
*/}}
{{- define "nearside.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains "nearside" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-nearside" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods of a program: (list . "proxy"). The controller finds the routers by these labels. */}}
{{- define "nearside.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: nearside-{{ index . 1 }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- end -}}

{{/* The labels of every object: (list . "proxy"). */}}
{{- define "nearside.labels" -}}
{{- $root := index . 0 -}}
{{ include "nearside.selector" . }}
app.kubernetes.io/part-of: nearside
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Values.managedBy | default $root.Release.Service }}
{{- end -}}

{{- define "nearside.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}
