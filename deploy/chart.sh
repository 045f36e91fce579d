#!/usr/bin/env bash
# Writes the templates of the Helm chart from deploy/manifests: `make chart`. A test keeps the two equal.
set -euo pipefail
cd "$(dirname "$0")"
for name in rbac admission config controller agent; do
    sed -e 's|^\( *namespace:\) weft$|\1 {{ .Release.Namespace }}|' \
        -e 's|system:serviceaccount:weft:|system:serviceaccount:{{ .Release.Namespace }}:|' \
        -e 's|^\( *leaseNamespace:\) weft$|\1 {{ .Release.Namespace }}|' \
        -e 's|^\( *image:\) localhost/weft:0.1.0$|\1 {{ .Values.image }}|' \
        -e 's|^\( *imagePullPolicy:\) IfNotPresent$|\1 {{ .Values.imagePullPolicy }}|' \
        -e 's|metricsAddress: 127.0.0.1:9618$|metricsAddress: {{ .Values.agent.metricsAddress }}|' \
        -e 's|metricsAddress: 127.0.0.1:9619$|metricsAddress: {{ .Values.controller.metricsAddress }}|' \
        -e 's|^\( *replicas:\) 2$|\1 {{ .Values.controller.replicas }}|' \
        -e 's|{cpu: 50m, memory: 128Mi}|{cpu: {{ .Values.agent.cpu }}, memory: {{ .Values.agent.memory }}}|' \
        -e 's|hostPath: {path: /opt/cni/bin,|hostPath: {path: {{ .Values.cniBinDir }},|' \
        -e 's|hostPath: {path: /etc/cni/net.d,|hostPath: {path: {{ .Values.cniConfDir }},|' \
        "manifests/$name.yaml" >"helm/weft/templates/$name.yaml"
done
