# shellcheck shell=bash
# Sourced by the other scripts: `source environment.sh [--dev]`. Leaves a Python environment active that holds
# what requirements.txt (with --dev also requirements-dev.txt) names, and the project itself.
#
# Which environment: the active one (venv or conda) if there is one; else, with CI=true, one outside the clone
# in the user's cache, named after the requirements, so that clones share it; else .venv in the repository.
# A stamp named after the hash of the requirements is written when an installation has ended well: a half-made
# environment has none, and is finished (or made anew) by the next run. A lock keeps two runs apart.

activefreq_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

_activefreq_supports() { # _activefreq_supports PYTHON
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}

_activefreq_make() { # _activefreq_make ENVIRONMENT: unless it is there, and was made to its end
    local candidate
    "$1/bin/python" -m pip --version >/dev/null 2>&1 && return
    for candidate in ${PYTHON:-} python3.11 python3.12 python3.10 python3 python; do
        if _activefreq_supports "$candidate"; then
            "$candidate" -m venv --clear "$1" >&2 && return
            echo "$candidate could not make $1 (on Debian and Ubuntu: apt-get install python3-venv)" >&2
            return 1
        fi
    done
    echo "no Python 3.10, 3.11 or 3.12 is on PATH (PYTHON=/path/to/python names one)" >&2
    return 1
}

_activefreq_install() { # _activefreq_install ENVIRONMENT REQUIREMENTS_FILE...
    local environment="$1" file hash stamp python="$1/bin/python" arguments=()
    shift
    hash="$(cd "$activefreq_root" && cat "$@" | sha256sum | cut -c1-16)"
    stamp="$environment/.activefreq-$#-$hash" # the number tells runtime from runtime and tests
    if [[ ! -e "$stamp" ]]; then
        _activefreq_supports "$python" || {
            echo "$environment holds no Python 3.10, 3.11 or 3.12: leave it (deactivate) and run this again" >&2
            return 1
        }
        echo "Installing $* into $environment (the first time this takes minutes and about 9 GB)" >&2
        for file in "$@"; do arguments+=(--requirement "$activefreq_root/$file"); done
        rm -f "$environment"/.activefreq-[12]-*
        "$python" -m pip install --disable-pip-version-check --quiet "${arguments[@]}" >&2 || return
        touch "$stamp" "$environment/.activefreq-1-$(sha256sum <"$activefreq_root/$1" | cut -c1-16)" || return
    fi
    # An environment that clones share cannot point at one of them: there, PYTHONPATH does (below).
    stamp="$environment/.activefreq-project"
    if [[ -z "$activefreq_shared" && "$(cat "$stamp" 2>/dev/null)" != "$activefreq_root" ]]; then
        "$python" -m pip install --disable-pip-version-check --quiet --no-deps --editable "$activefreq_root" >&2 || return
        echo "$activefreq_root" >"$stamp" || return
    fi
}

_activefreq_activate() {
    local files=(requirements.txt) environment active="${VIRTUAL_ENV:-${CONDA_PREFIX:-}}"
    [[ "${1:-}" == --dev ]] && files+=(requirements-dev.txt)
    activefreq_shared=""
    if [[ -n "$active" ]]; then
        environment="$active"
    elif [[ "${CI:-}" == true ]]; then
        activefreq_shared=yes
        local cache="${XDG_CACHE_HOME:-$HOME/.cache}/activefreq" hash
        hash="$(cat "$activefreq_root"/requirements{,-dev}.txt | sha256sum | cut -c1-16)"
        environment="$cache/venv-$hash"
    else
        environment="$activefreq_root/.venv"
    fi
    mkdir -p "$(dirname "$environment")" || return
    (
        flock 9
        [[ -n "$active" ]] || _activefreq_make "$environment" || exit
        _activefreq_install "$environment" "${files[@]}"
    ) 9>"${TMPDIR:-/tmp}/activefreq-$(id -u)-$(sha256sum <<<"$environment" | cut -c1-16).lock" || return
    export PATH="$environment/bin:$PATH" VIRTUAL_ENV="$environment"
    if [[ -n "$activefreq_shared" ]]; then
        export PYTHONPATH="$activefreq_root/lib${PYTHONPATH:+:$PYTHONPATH}"
    fi
}

_activefreq_activate "$@" || {
    echo "the environment could not be set up; the message above says why" >&2
    exit 1
}
