#!/bin/sh
# System packages that a build needs: a C compiler, make, pkg-config, and the headers of OpenSSL and zlib (for librdkafka).
# Installs what is missing through apt when root, and says so; else says which command to run.
set -eu
missing=
has() { command -v "$1" > /dev/null 2>&1; }
has cc || missing="$missing gcc"
has c++ || missing="$missing g++"
has make || missing="$missing make"
has cmake || missing="$missing cmake"
has pkg-config || missing="$missing pkg-config"
{ has pkg-config && pkg-config --exists openssl; } || missing="$missing libssl-dev"
{ has pkg-config && pkg-config --exists zlib; } || missing="$missing zlib1g-dev"
has npm || missing="$missing npm"
[ -n "$missing" ] || exit 0
has apt-get || { echo "tally: install these with your package manager, then run this again:$missing" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "tally: run this, then try again: sudo apt-get install -y$missing" >&2; exit 1; }
echo "tally: installing$missing" >&2
apt-get update -qq
# shellcheck disable=SC2086  # a list of words on purpose
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing > /dev/null
