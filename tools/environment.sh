#!/usr/bin/env bash
# Makes the virtual environment that `make` uses, or finds it ready: tools/environment.sh test|dev|bench
#
# .made-by-make in it says that make may rebuild it; .installed holds what it was made for, so that a
# moved folder or a changed pin is noticed. A first installation that was stopped is thrown away.
set -euo pipefail
cd "$(dirname "$0")/.."

extra=${1:-test}
venv=${VENV:-.venv}
ours="$venv/.made-by-make"
installed="$venv/.installed"
oldest=11
newest=13

fail() {
    printf '%s\n' "make: $*" >&2
    exit 1
}

fits() {
    "$1" -c "import sys; sys.exit(not (3, $oldest) <= sys.version_info[:2] <= (3, $newest))" 2>/dev/null
}

find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11 python; do
        if command -v "$candidate" >/dev/null && fits "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    local found
    found=$(python3 --version 2>/dev/null || true)
    fail "no Python 3.$oldest to 3.$newest was found${found:+ (python3 is $found)};" \
        "install one, or name it: make lab PYTHON=/path/to/python3.$newest"
}

wanted="$PWD $(cat pyproject.toml constraints.txt | cksum)"
if [ -x "$venv/bin/python" ] && [ -f "$installed" ] && "$venv/bin/python" -c '' 2>/dev/null; then
    state=$(cat "$installed")
    if [ -z "${PYTHON:-}" ] || [ "$("$venv/bin/python" -c 'import sys; print(sys.version)')" \
        = "$("$PYTHON" -c 'import sys; print(sys.version)' 2>/dev/null)" ]; then
        case $state in
            # Each extra holds the one before it.
            "bench $wanted" | "$extra $wanted") exit 0 ;;
            "dev $wanted") [ "$extra" = bench ] || exit 0 ;;
        esac
        # Installing into a good environment, for another extra or a new pin.
        case $state in
            *" $PWD "*) fresh=no ;;
        esac
    fi
fi

if [ "${fresh:-yes}" = yes ]; then
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON" >/dev/null || fail "PYTHON=$PYTHON is not a program"
        fits "$PYTHON" || fail "PYTHON=$PYTHON is $("$PYTHON" --version 2>&1 | head -n 1);" \
            "the course needs Python 3.$oldest to 3.$newest"
    else
        PYTHON=$(find_python)
    fi
    if [ -e "$venv" ] && [ ! -f "$ours" ]; then
        fail "$venv is here but was not made by make; move it away, or choose: make lab VENV=.venv-course"
    fi
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || fail \
        "this Python cannot make virtual environments; on Debian or Ubuntu: sudo apt install" \
        "$("$PYTHON" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')"
    rm -rf "$venv"
    mkdir -p "$venv"
    touch "$ours"
    printf '%s\n' "Making $venv with $("$PYTHON" --version)"
    "$PYTHON" -m venv "$venv" || { rm -rf "$venv"; fail "the virtual environment could not be made"; }
fi

printf '%s\n' "Installing the pinned packages; the first time this takes some minutes"
log="$venv/install.log"
if ! "$venv/bin/python" -m pip install --disable-pip-version-check --retries 2 \
    -e ".[$extra]" -c constraints.txt 2>&1 | tee "$log" | { grep -v '^Requirement already' || true; }; then
    if grep -qE 'NewConnectionError|NameResolution|name resolution|Failed to establish|Connection refused|ConnectTimeout|unreachable|ProxyError|Read timed out' "$log"; then
        reason="the package registry could not be reached; connect to the network and repeat the command"
    elif grep -q 'No space left' "$log"; then
        reason="the disk is full; free about 2 GB (on Linux 8 GB) and repeat the command"
    else
        mkdir -p build
        cp "$log" build/install.log
        reason="pip failed, as said above; its whole output is in build/install.log"
    fi
    [ -f "$installed" ] || rm -rf "$venv"
    fail "$reason"
fi
printf '%s\n' "$extra $wanted" >"$installed"
