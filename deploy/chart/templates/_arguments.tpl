{{/*
Options to command lines. An option has the name of its flag without dashes. A list gives the flag once for each item; text and
numbers give it once. Yes and no go into the environment instead, where both kinds of flags take them: those that are given or
not, and those that have a value.
*/}}

{{/* A number as a flag reads it: Helm reads 2000000 as a float and would write 2e+06. */}}
{{- define "nearside.value" -}}
{{- if and (kindIs "float64" .) (eq (float64 (int64 .)) .) -}}
{{- int64 . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/* The items of `args` for a map of options. */}}
{{- define "nearside.arguments" -}}
{{- range $name, $value := . }}
{{- if kindIs "slice" $value }}
{{- range $value }}
- {{ printf "--%s=%s" $name (include "nearside.value" .) | quote }}
{{- end }}
{{- else if kindIs "bool" $value }}
{{- else }}
- {{ printf "--%s=%s" $name (include "nearside.value" $value) | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The items of `env` for a map of options. */}}
{{- define "nearside.switches" -}}
{{- range $name, $value := . }}
{{- if kindIs "bool" $value }}
- name: NEARSIDE_{{ $name | upper | replace "-" "_" }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The items of `args` for files from Secrets and ConfigMaps. */}}
{{- define "nearside.fileArguments" -}}
{{- range . }}
- {{ printf "--%s=%s/etc/nearside/%s/%s" .flag (.prefix | default "") (.secret | default .configMap) .key | quote }}
{{- end }}
{{- end -}}

{{/* Each Secret and ConfigMap of a list of files once, as `NAME: KIND`. */}}
{{- define "nearside.fileSources" -}}
{{- range . }}
{{- if .secret }}
{{ .secret }}: secret
{{- else }}
{{ .configMap }}: configMap
{{- end }}
{{- end }}
{{- end -}}

{{- define "nearside.fileMounts" -}}
{{- range $name, $kind := include "nearside.fileSources" . | fromYaml }}
- name: file-{{ $name | replace "." "-" | trunc 58 | trimSuffix "-" }}
  mountPath: /etc/nearside/{{ $name }}
  readOnly: true
{{- end }}
{{- end -}}

{{- define "nearside.fileVolumes" -}}
{{- range $name, $kind := include "nearside.fileSources" . | fromYaml }}
- name: file-{{ $name | replace "." "-" | trunc 58 | trimSuffix "-" }}
  {{- if eq $kind "secret" }}
  secret:
    secretName: {{ $name }}
  {{- else }}
  configMap:
    name: {{ $name }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Name servers as the variable NEARSIDE_NAME_SERVER has them. */}}
{{- define "nearside.nameServers" -}}
{{- $words := list -}}
{{- range .Values.nameServers -}}
{{- if .addresses -}}
{{- $words = append $words (printf "%s=%s" .name (join "," .addresses)) -}}
{{- else -}}
{{- $words = append $words .name -}}
{{- end -}}
{{- end -}}
{{- join " " $words -}}
{{- end -}}
