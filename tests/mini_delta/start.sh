#!/usr/bin/env bash
# start.sh: a throw-away Slurm "mini-Delta" on this one machine, for tests and CI.
#
#   ./start.sh [--state DIR] [--no-accounting] [--nodes small|full] [--account NAME]... [--user NAME]...
#   source DIR/env.sh          # SLURM_CONF etc. for this shell; DIR defaults to $MINI_DELTA_STATE or ./state beside this script
#   ./stop.sh [--state DIR] [--purge]
#
# * Needs Debian's Slurm, munge and MariaDB: scripts/install_tools.sh installs them.
# * No systemd, no cgroup: proctrack/linuxproc, task/none, select/cons_tres, fake GPUs (plain files).
# * Every file lives under --state; every daemon binds to 127.0.0.1; works as root in a container.
# * Idempotent: if the cluster under --state is already up, it only re-checks it and exits 0.
set -euo pipefail

STATE=${MINI_DELTA_STATE:-$(cd "$(dirname "$0")" && pwd)/state}; ACCT=1; NODES=small; ACCOUNTS=(); USERS=()
PORT_BASE=${MINI_DELTA_PORT_BASE:-16800}      # ctld +17, dbd +19, slurmd +20..+29
while [ $# -gt 0 ]; do case $1 in
  --state) STATE=$2; shift;; --no-accounting) ACCT=0;; --nodes) NODES=$2; shift;;
  --account) ACCOUNTS+=("$2"); shift;; --user) USERS+=("$2"); shift;;
  -h|--help) sed -n 2,12p "$0"; exit 0;; *) echo "unknown option $1" >&2; exit 2;; esac; shift; done
[ ${#ACCOUNTS[@]} -gt 0 ] || ACCOUNTS=(bcjw-delta-gpu bcjw-delta-cpu)
USERS+=("$(id -un)")
say() { echo "[mini-delta] $*"; }
t0=$(date +%s.%N); el() { awk -v a="$t0" -v b="$(date +%s.%N)" 'BEGIN{printf "%.1fs", b-a}'; }

need=(slurmctld slurmd munged srun); [ $ACCT = 1 ] && need+=(slurmdbd mariadbd mariadb-install-db my_print_defaults)
missing=(); for c in "${need[@]}"; do command -v "$c" >/dev/null || missing+=("$c"); done
[ ${#missing[@]} = 0 ] || { echo "missing: ${missing[*]}; scripts/install_tools.sh installs them" >&2; exit 3; }

mkdir -p "$STATE"/{etc,run,log,munge,spool,ctld,dev,mysql}; chmod 755 "$STATE" "$STATE"/*; chmod 700 "$STATE/mysql" "$STATE/ctld"
HOST=$(hostname -s); ME=$(id -un)
CTLD=$((PORT_BASE+17)); DBD=$((PORT_BASE+19)); S0=$((PORT_BASE+20))
running() { local p; p=$(cat "$STATE/run/$1.pid" 2>/dev/null) && [ -n "$p" ] && [ "$(cat /proc/$p/comm 2>/dev/null)" = "$2" ] && ! grep -qs '^State:.Z' /proc/$p/status; }   # a zombie is not running

# ---- node table: name gpu-type count cpus memMB ----------------------------------------------
NODETAB=("cn001 - 0 128 250000" "gpua001 a100 4 64 250000" "gpub001 a40 4 64 250000")
[ "$NODES" = full ] && NODETAB+=("gpuc01 a100 8 128 2000000" "gpud01 mi100 8 128 2000000" "gpue01 h200 8 96 2000000")

# ---- munge key, slurm.conf, gres.conf ------------------------------------------------------------
[ -s "$STATE/munge/munge.key" ] || { (umask 077; head -c 128 /dev/urandom > "$STATE/munge/munge.key"); }
{ cat <<C
ClusterName=minidelta
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$CTLD
SlurmUser=$ME
SlurmdUser=$ME
AuthType=auth/munge
AuthInfo=socket=$STATE/munge/munge.socket
CredType=cred/munge
# loopback only
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPidFile=$STATE/run/slurmctld.pid
SlurmdPidFile=$STATE/run/slurmd-%n.pid
SlurmctldLogFile=$STATE/log/slurmctld.log
SlurmdLogFile=$STATE/log/slurmd-%n.log
StateSaveLocation=$STATE/ctld
SlurmdSpoolDir=$STATE/spool/%n
# no systemd, no cgroup
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
MpiDefault=none
SwitchType=switch/none
PrologFlags=Alloc
LaunchParameters=use_interactive_step
ReturnToService=2
RebootProgram=/bin/true
# believe NodeName lines: this box need not have 64 cores
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
DefMemPerCPU=1000
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=0
EnforcePartLimits=ANY
MaxArraySize=2001
MaxJobCount=5000
MinJobAge=300
KillWait=2
InactiveLimit=0
Waittime=0
MessageTimeout=20
SlurmctldTimeout=60
SlurmdTimeout=300
SlurmctldDebug=info
SlurmdDebug=info
C
  if [ $ACCT = 1 ]; then cat <<C
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$DBD
AccountingStoragePass=$STATE/munge/munge.socket
AccountingStorageEnforce=associations,limits,qos
AccountingStoreFlags=job_comment
C
    echo "AccountingStorageTRES=gres/gpu"
  else echo "AccountingStorageType=accounting_storage/none"; fi   # then: no sacct, and -A is not checked
  i=0; for row in "${NODETAB[@]}"; do read -r n t c cpu mem <<<"$row"
    g=""; [ "$c" -gt 0 ] && g="Gres=gpu:$t:$c "
    echo "NodeName=$n NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$((S0+i)) CPUs=$cpu Boards=1 SocketsPerBoard=1 CoresPerSocket=$cpu ThreadsPerCore=1 RealMemory=$mem ${g}State=UNKNOWN"
    i=$((i+1)); done
  P() { echo "PartitionName=$1 Nodes=$2 DefaultTime=00:30:00 MaxTime=$3 PriorityTier=$4 ${5:-} State=UP"; }
  P cpu cn001 2-00:00:00 10; P cpu-interactive cn001 01:00:00 20; P cpu-preempt cn001 2-00:00:00 1 "PreemptMode=REQUEUE GraceTime=2"
  P gpuA100x4 gpua001 2-00:00:00 10 Default=YES; P gpuA100x4-interactive gpua001 01:00:00 20; P gpuA100x4-preempt gpua001 2-00:00:00 1 "PreemptMode=REQUEUE GraceTime=2"
  P gpuA40x4 gpub001 2-00:00:00 10; P gpuA40x4-interactive gpub001 01:00:00 20; P gpuA40x4-preempt gpub001 2-00:00:00 1 "PreemptMode=REQUEUE GraceTime=2"
  if [ "$NODES" = full ]; then P gpuA100x8 gpuc01 2-00:00:00 10; P gpuA100x8-interactive gpuc01 01:00:00 20
    P gpuMI100x8 gpud01 2-00:00:00 10; P gpuMI100x8-interactive gpud01 01:00:00 20
    P gpuH200x8 gpue01 2-00:00:00 10; P gpuH200x8-interactive gpue01 01:00:00 20; fi
} > "$STATE/etc/slurm.conf.new"
: > "$STATE/etc/gres.conf.new"
for row in "${NODETAB[@]}"; do read -r n t c cpu mem <<<"$row"; [ "$c" -gt 0 ] || continue
  for k in $(seq 0 $((c-1))); do ln -sfn /dev/null "$STATE/dev/$n-nvidia$k"; done   # slurmd only stats it: must be a char device
  echo "NodeName=$n Name=gpu Type=$t File=$STATE/dev/$n-nvidia[0-$((c-1))]" >> "$STATE/etc/gres.conf.new"; done
for f in slurm.conf gres.conf; do mv "$STATE/etc/$f.new" "$STATE/etc/$f"; done
cat > "$STATE/env.sh" <<C
export SLURM_CONF=$STATE/etc/slurm.conf
export MINI_DELTA_STATE=$STATE
C
export SLURM_CONF=$STATE/etc/slurm.conf

# ---- daemons ------------------------------------------------------------------------------------
waitfor() { local n=$1; shift; local i; for i in $(seq 1 $((n*10))); do "$@" >/dev/null 2>&1 && return 0; sleep 0.1; done; return 1; }
if ! running munged munged; then rm -f "$STATE"/munge/munge.socket*
  munged --force --socket="$STATE/munge/munge.socket" --key-file="$STATE/munge/munge.key" \
    --pid-file="$STATE/run/munged.pid" --log-file="$STATE/log/munged.log" --seed-file="$STATE/munge/munged.seed"; fi
waitfor 5 munge -S "$STATE/munge/munge.socket" -n || { echo "munged did not start" >&2; exit 4; }

if [ $ACCT = 1 ]; then
  SOCK=$STATE/run/mysqld.sock
  if [ ! -d "$STATE/mysql/mysql" ]; then
    mariadb-install-db --no-defaults --user="$ME" --datadir="$STATE/mysql" --auth-root-authentication-method=socket \
      --skip-test-db --skip-name-resolve --innodb-log-file-size=16M >"$STATE/log/mysql-install.log" 2>&1 || { cat "$STATE/log/mysql-install.log" >&2; exit 4; }
    say "mariadb data directory made at $(el)"
  fi
  if ! running mariadbd mariadbd; then
    setsid mariadbd --no-defaults --user="$ME" --datadir="$STATE/mysql" --socket="$SOCK" --pid-file="$STATE/run/mariadbd.pid" \
      --skip-networking --innodb-buffer-pool-size=64M --innodb-log-file-size=16M --innodb-lock-wait-timeout=900 \
      --innodb-flush-log-at-trx-commit=0 --performance-schema=OFF --max-allowed-packet=16M </dev/null >"$STATE/log/mariadbd.log" 2>&1 &
  fi
  waitfor 20 test -S "$SOCK" || { echo "mariadbd did not start" >&2; exit 4; }
  cat > "$STATE/etc/slurmdbd.conf" <<C
AuthType=auth/munge
AuthInfo=socket=$STATE/munge/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$DBD
SlurmUser=$ME
DebugLevel=info
LogFile=$STATE/log/slurmdbd.log
PidFile=$STATE/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=$ME
StorageLoc=slurm_acct_db
CommunicationParameters=NoInAddrAny
C
  chmod 600 "$STATE/etc/slurmdbd.conf"
  if ! running slurmdbd slurmdbd; then (cd "$STATE" && MYSQL_UNIX_PORT=$SOCK SLURM_CONF=$STATE/etc/slurmdbd.conf slurmdbd); fi
  waitfor 20 sacctmgr -n show cluster || { echo "slurmdbd did not start: $(tail -3 "$STATE/log/slurmdbd.log")" >&2; exit 4; }
  if ! sacctmgr -nP show cluster format=cluster | grep -qx minidelta; then sacctmgr -i add cluster minidelta >/dev/null; fi
  for a in "${ACCOUNTS[@]}"; do
    sacctmgr -nP show account "$a" format=account | grep -qx "$a" || sacctmgr -i add account "$a" Description=course Organization=course >/dev/null
    for u in "${USERS[@]}"; do sacctmgr -nP show assoc account="$a" user="$u" format=user | grep -qx "$u" || sacctmgr -i add user "$u" account="$a" >/dev/null; done
  done
  say "slurmdbd ready at $(el)"
fi

running slurmctld slurmctld || slurmctld -f "$SLURM_CONF"
waitfor 15 scontrol ping || { echo "slurmctld did not start: $(tail -3 "$STATE/log/slurmctld.log")" >&2; exit 4; }
for row in "${NODETAB[@]}"; do read -r n _ <<<"$row"; mkdir -p "$STATE/spool/$n"
  running "slurmd-$n" slurmd || slurmd -f "$SLURM_CONF" -N "$n"; done
allidle() { ! sinfo -hN -o %t | grep -qvE '^(idle|mix|alloc|comp)$'; }
waitfor 20 allidle || { sinfo -N; echo "nodes not ready" >&2; exit 4; }
say "up in $(el): $(sinfo -h -o '%P' | tr '\n' ' ')"
say "source $STATE/env.sh"
