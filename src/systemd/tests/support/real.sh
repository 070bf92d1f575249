#!/bin/sh
# A room of its own for a user's systemd: mounts, processes and control groups apart from the machine's. It ends, with all that
# runs in it, when its standard input does.
#
# $1 a folder, $2 a name for the control groups, $3 what to do: nothing at first, then `inside`.
folder=$1
group=$2
deep=user.slice/user-0.slice/user@0.service

groups() {
  for root in /sys/fs/cgroup /sys/fs/cgroup/*/; do
    if [ -w "$root/cgroup.procs" ]; then echo "${root%/}"; fi
  done
}

if [ "$3" != inside ]; then
  for root in $(groups); do
    mkdir -p "$root/$group/$deep" 2>/dev/null || continue
    # An empty set of processors takes nobody in.
    for part in "" /user.slice /user.slice/user-0.slice "/$deep"; do
      for file in cpuset.cpus cpuset.mems; do
        if [ -e "$root/$file" ]; then cat "$root/$file" >"$root/$group$part/$file" 2>/dev/null; fi
      done
    done
  done
  unshare --mount --pid --fork --kill-child --mount-proc sh "$0" "$folder" "$group" inside
  for root in $(groups); do
    if [ -d "$root/$group" ]; then find "$root/$group" -depth -type d -exec rmdir {} \; ; fi
  done
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
export XDG_RUNTIME_DIR="$folder/user" HOME="$folder/home"
# As where a machine starts it: what systemd says of units is in the journal.
export SYSTEMD_LOG_TARGET=journal
unset DBUS_SESSION_BUS_ADDRESS XDG_CONFIG_HOME XDG_DATA_HOME
exec 3<&0
while true; do
  (
    enter "$group/$deep"
    exec /lib/systemd/systemd --user --unit=basic.target </dev/null 3<&-
  ) &
  echo "systemd $!" >&2
  # A word on the standard input ends this systemd and begins another; the end of it ends everything.
  read -r word <&3 || exit 0
  kill -9 $!
  wait $! || true
  find /sys/fs/cgroup -path "*/$group/$deep/*/cgroup.procs" -exec cat {} + 2>/dev/null | sort -u >"$folder/left" || true
done
