#!/usr/bin/env bash
# Sets the environment up if need be, then starts MONAI Label with the ActiveFreq app:
#   bash scripts/serve.sh              on sample studies, which it puts into out/sample_studies
#   bash scripts/serve.sh STUDIES      on a folder of images, or a DICOMweb URL
# ACTIVEFREQ_HOST (127.0.0.1) and PORT (8000) can be set in the environment; what follows STUDIES goes to `monailabel start_server`.
# There is no login: only this computer is served unless ACTIVEFREQ_HOST says otherwise.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
case "${1:-}" in
-h | --help)
    sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit
    ;;
esac
source "$root/scripts/environment.sh"

studies="${1:-}"
if [[ -z "$studies" ]]; then
    studies="$root/out/sample_studies"
    python "$root/scripts/sample_studies.py" "$studies" >/dev/null
elif [[ "$studies" != http://* && "$studies" != https://* && ! -d "$studies" ]]; then
    echo "$studies is not a folder" >&2
    exit 2
fi
shift "$(($# > 0))"

# Not the `monailabel` command: it breaks arguments at spaces.
exec python -m monailabel.main start_server --app "$root/apps/activefreq" --studies "$studies" \
    --host "${ACTIVEFREQ_HOST:-127.0.0.1}" --port "${PORT:-8000}" "$@"
