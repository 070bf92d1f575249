#!/bin/sh
# A room of its own for a user's systemd: mounts and control groups apart from the machine's. It ends, with all that runs in it,
# when its standard input does. Not a room of its own for processes: systemd's own socket hears nobody from outside such a one.
#
# $1 a folder, $2 a name for the control groups, $3 what to do: nothing at first, then `inside`.
folder=$1
# As a machine names them, by which the journal knows whose a process is.
group=$2.slice
deep=$group/user.slice/user-0.slice/user@0.service

groups() {
  for root in /sys/fs/cgroup /sys/fs/cgroup/*/; do
    if [ -w "$root/cgroup.procs" ]; then echo "${root%/}"; fi
  done
}

# All processes of the room but the ones that are told.
left() {
  for root in $(groups); do
    if [ -d "$root/$group" ]; then find "$root/$1" -name cgroup.procs -exec cat {} + 2>/dev/null; fi
  done | sort -u
}

if [ "$3" != inside ]; then
  for root in $(groups); do
    mkdir -p "$root/$deep" 2>/dev/null || continue
    # An empty set of processors takes nobody in.
    for part in "$group" "$group/user.slice" "$group/user.slice/user-0.slice" "$deep"; do
      for file in cpuset.cpus cpuset.mems; do
        if [ -e "$root/$file" ]; then cat "$root/$file" >"$root/$part/$file" 2>/dev/null; fi
      done
    done
  done
  unshare --mount sh "$0" "$folder" "$2" inside
  tries=0
  while [ -n "$(left "$group")" ] && [ $tries -lt 100 ]; do
    kill -9 $(left "$group") 2>/dev/null
    sleep 0.05
    tries=$((tries + 1))
  done
  for root in $(groups); do
    if [ -d "$root/$group" ]; then find "$root/$group" -depth -type d -exec rmdir {} \; ; fi
  done
  rm -rf "$folder"
  exit 0
fi

enter() {
  for root in $(groups); do
    if [ -d "$root/$1" ]; then echo 0 >"$root/$1/cgroup.procs"; fi
  done
}

set -e
enter "$group"
mkdir -p "$folder/run" "$folder/user" "$folder/home"
chmod 700 "$folder/user"
mount --bind "$folder/run" /run
mkdir -p /run/systemd/system /run/systemd/journal
/lib/systemd/systemd-journald </dev/null &
# Who begins before it is there writes nowhere.
until [ -S /run/systemd/journal/socket ] && [ -S /run/systemd/journal/stdout ]; do sleep 0.05; done
export XDG_RUNTIME_DIR="$folder/user" HOME="$folder/home"
# As where a machine starts it: what systemd says of units is in the journal.
export SYSTEMD_LOG_TARGET=journal
unset DBUS_SESSION_BUS_ADDRESS XDG_CONFIG_HOME XDG_DATA_HOME
exec 3<&0
while true; do
  (
    enter "$deep"
    exec /lib/systemd/systemd --user --unit=basic.target </dev/null 3<&-
  ) &
  # A word on the standard input ends this systemd with its units and begins another; the end of it ends everything.
  read -r word <&3 || exit 0
  kill -9 $!
  wait $! || true
  while [ -n "$(left "$deep")" ]; do kill -9 $(left "$deep") || true; done
done
