#!/usr/bin/env bash
# Brings up all that OHIF needs, on this computer alone, and prints the link to open:
#   bash scripts/ohif_demo.sh        an Orthanc of its own with sample studies, and the app on them
#   bash scripts/ohif_demo.sh URL    the app on a DICOMweb server that is there, such as http://HOST:8042/dicom-web
# Orthanc is Debian's (orthanc, orthanc-dicomweb): installed if missing, which needs root.
# PORT (8000, or the next free one) can be set in the environment; what follows URL goes to `monailabel start_server`.
# Ctrl-C ends it. The demo's own Orthanc, its studies and what was annotated there are then gone.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
case "${1:-}" in
-h | --help)
    sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit
    ;;
esac
source "$root/scripts/environment.sh"

folder="$(mktemp -d)"
processes=()
cleanup() {
    trap - EXIT INT TERM
    ((${#processes[@]} == 0)) || kill "${processes[@]}" 2>/dev/null || true
    wait || true
    rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

free_port() { # free_port FIRST: the first port from FIRST on that nobody listens on
    python - "$1" <<'PYTHON'
import itertools, socket, sys
for port in itertools.count(int(sys.argv[1])):
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)):
            print(port)
            break
PYTHON
}

answers() { # answers URL PROCESS WHAT LOG: waits until the URL answers; shows the log if the process ends before
    until python -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=60)' "$1" 2>/dev/null; do
        if ! kill -0 "$2" 2>/dev/null; then
            tail -n 20 "$4" >&2
            echo "$3 did not start; its last lines are above" >&2
            exit 1
        fi
        sleep 0.5
    done
}

install_orthanc() {
    command -v Orthanc >/dev/null && [[ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ]] && return
    if [[ "$(id -u)" != 0 ]] || ! command -v apt-get >/dev/null; then
        echo "Orthanc is missing: apt-get install orthanc orthanc-dicomweb (as root), or give a DICOMweb URL" >&2
        exit 1
    fi
    echo "Installing orthanc and orthanc-dicomweb"
    # RUNLEVEL keeps Debian from starting the service that comes with the package.
    { apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq orthanc orthanc-dicomweb; } \
        >"$folder/apt.log" 2>&1 || {
        tail -n 5 "$folder/apt.log" >&2
        exit 1
    }
}

dicomweb="${1:-}"
shift "$(($# > 0))"
if [[ -z "$dicomweb" ]]; then
    install_orthanc
    ORTHANC_PORT="$(free_port 8042)"
    export ORTHANC_PORT ORTHANC_FOLDER="$folder/orthanc"
    mkdir "$ORTHANC_FOLDER"
    Orthanc "$root/scripts/orthanc.json" >"$folder/orthanc.log" 2>&1 &
    processes+=($!)
    dicomweb="http://127.0.0.1:$ORTHANC_PORT/dicom-web"
    answers "$dicomweb/studies" "$!" Orthanc "$folder/orthanc.log"
    python "$root/scripts/sample_studies.py" "$folder/samples" >/dev/null
    python "$root/scripts/to_dicom.py" --images "$folder/samples" --dicomweb "$dicomweb" >"$folder/studies.csv"
    # What was downloaded from this Orthanc is of no use after it.
    export MONAI_LABEL_DICOMWEB_CACHE_PATH="$folder/downloads"
fi

port="${PORT:-$(free_port 8000)}"
PORT="$port" bash "$root/scripts/serve.sh" "$dicomweb" "$@" >"$folder/server.log" 2>&1 &
processes+=($!)
answers "http://127.0.0.1:$port/info/" "$!" "The server" "$folder/server.log"

viewer="http://127.0.0.1:$port/ohif"
echo
echo "OHIF:       $viewer (choose a study, then MONAI Label)"
if [[ -e "$folder/studies.csv" ]]; then
    tail -n +2 "$folder/studies.csv" | while IFS=, read -r name study _; do
        printf '%-11s %s\n' "" "$viewer/monai-label?StudyInstanceUIDs=$study ($name)"
    done
fi
echo "DICOMweb:   $dicomweb"
echo "Server log: $folder/server.log"
echo "In the panel on the right press the button beside the server's address, open Point Prompts, choose lesion, click, Run."
echo "Ctrl-C ends the demo."
wait -n "${processes[@]}"
echo "A part of the demo has ended by itself; its log:" >&2
tail -n 20 "$folder"/*.log >&2
exit 1
