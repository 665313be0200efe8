#!/usr/bin/env bash
# Installs Debian's Prometheus, which the tests have read the metrics, unless there is one.
set -euo pipefail
if command -v "${PROMETHEUS:-prometheus}" >/dev/null && command -v "${PROMTOOL:-promtool}" >/dev/null; then exit 0; fi
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo -n)
"${as_root[@]}" apt-get update -qq
# Its service is not wanted: the tests start their own, with a configuration of their own.
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends prometheus >/dev/null
