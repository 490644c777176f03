#!/bin/sh
# archive.sh KAFKA_HOME: starts the broker once on free loopback ports and stops it, so that the
# JVM writes the classes it loaded into KAFKA_HOME/kafka.jsa.
set -eu

home=$1
work=$(mktemp -d)
broker=
finish() {
    [ -z "$broker" ] || kill -9 "$broker" 2> /dev/null || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

ports=$(python3 -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in held))')
client=${ports% *} controller=${ports#* }

cat > "$work/server.properties" << SETTINGS
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$client,CONTROLLER://127.0.0.1:$controller
controller.listener.names=CONTROLLER
log.dirs=$work/data
SETTINGS

# The class path must be spelled as the tests spell it, or the archive does not fit.
set -- java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$home/libs/*"
"$@" kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qk -c "$work/server.properties"
"$@" -XX:ArchiveClassesAtExit="$work/kafka.jsa" kafka.Kafka "$work/server.properties" > "$work/log" 2>&1 &
broker=$!

tries=300
until grep -q 'Kafka Server started' "$work/log"; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] && kill -0 "$broker" || { cat "$work/log"; exit 1; }
    sleep 0.1
done
kill "$broker"
wait "$broker" || true # stopped by a signal: never 0
broker=
mv -f "$work/kafka.jsa" "$home/kafka.jsa"
