{{/*
Where dns.mode is publish: the file that nearside-dns-sync publish reads, and what follows from it.
*/}}

{{/* The file. */}}
{{- define "nearside.publication" -}}
{{- toYaml (merge (dict "stateDir" "/var/lib/nearside") .Values.dnsSync.publish.config) -}}
{{- end -}}

{{/* The servers of all zones as blocks of addresses with ports, each once. */}}
{{- define "nearside.publishedServers" -}}
{{- $seen := dict -}}
{{- range .Values.dnsSync.publish.config.zones }}
{{- range .servers }}
{{- $address := .address | toString -}}
{{- $port := "53" -}}
{{- if regexMatch "^(\\[.*\\]|[0-9.]+):[0-9]+$" $address -}}
{{- $port = regexFind "[0-9]+$" $address -}}
{{- $address = regexReplaceAll ":[0-9]+$" $address "" -}}
{{- end -}}
{{- $address = $address | trimPrefix "[" | trimSuffix "]" -}}
{{- $bits := contains ":" $address | ternary "128" "32" -}}
{{- $_ := set $seen (printf "%s/%s %s" $address $bits $port) true -}}
{{- end }}
{{- end -}}
servers:
{{- range $server := keys $seen | sortAlpha }}
  - cidr: {{ splitList " " $server | first | quote }}
    port: {{ splitList " " $server | last }}
{{- end }}
{{- end -}}
