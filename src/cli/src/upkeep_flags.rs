//! Flags of `seatrial server` for what keeps a store in order: corruption checks and lease checkpoints, by the names that
//! etcd gave them over the years.

use crate::etcdctl::parse_duration;
use clap::{ArgAction, Args};
use std::time::Duration;

/// After this time what is left of a lease goes into the log (etcd: the same).
const LEASE_CHECKPOINT: Duration = Duration::from_secs(300);

/// Etcd's feature gates. Those without a field of [`Upkeep`] say nothing here: what they switch is done in another way.
const GATES: [&str; 9] = [
    "AllAlpha",
    "AllBeta",
    "CompactHashCheck",
    "InitialCorruptCheck",
    "LeaseCheckpoint",
    "LeaseCheckpointPersist",
    "SetMemberLocalAddr",
    "StopGRPCServiceOnDefrag",
    "TxnModeWriteWithSharedBuffer",
];

#[derive(Debug, Default, Args)]
pub(crate) struct UpkeepArgs {
    /// Compare this member's data with its peers before it serves.
    #[arg(long, env = "ETCD_EXPERIMENTAL_INITIAL_CORRUPT_CHECK", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true", hide_default_value = true,
        action = ArgAction::Set)]
    experimental_initial_corrupt_check: bool,
    /// Time between comparisons of what all members hold, such as 4h; 0 compares never.
    #[arg(
        long,
        alias = "experimental-corrupt-check-time",
        env = "ETCD_CORRUPT_CHECK_TIME",
        default_value = "0s"
    )]
    corrupt_check_time: String,
    /// Compare what all members hold every --compact-hash-check-time.
    #[arg(long, env = "ETCD_EXPERIMENTAL_COMPACT_HASH_CHECK_ENABLED", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true", hide_default_value = true,
        action = ArgAction::Set)]
    experimental_compact_hash_check_enabled: bool,
    /// See --experimental-compact-hash-check-enabled.
    #[arg(
        long,
        alias = "experimental-compact-hash-check-time",
        env = "ETCD_COMPACT_HASH_CHECK_TIME",
        default_value = "1m"
    )]
    compact_hash_check_time: String,
    /// Write into the log how much is left of long leases, so that a new leader does not give them their whole time anew.
    #[arg(long, env = "ETCD_EXPERIMENTAL_ENABLE_LEASE_CHECKPOINT", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true", hide_default_value = true,
        action = ArgAction::Set)]
    experimental_enable_lease_checkpoint: bool,
    /// The same and keep it over restarts, which is done in any case.
    #[arg(long, env = "ETCD_EXPERIMENTAL_ENABLE_LEASE_CHECKPOINT_PERSIST", num_args = 0..=1,
        require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, action = ArgAction::Set)]
    experimental_enable_lease_checkpoint_persist: bool,
    /// For the testbed: how often, where every five minutes are too seldom.
    #[arg(long, hide = true)]
    lease_checkpoint_interval: Option<String>,
    /// The same switches as Name=true,…: InitialCorruptCheck, CompactHashCheck, LeaseCheckpoint.
    #[arg(long, env = "ETCD_FEATURE_GATES", value_delimiter = ',')]
    feature_gates: Vec<String>,
}

/// What the flags come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Upkeep {
    pub(crate) initial_corrupt_check: bool,
    pub(crate) corrupt_check_interval: Option<Duration>,
    pub(crate) lease_checkpoint_interval: Option<Duration>,
}

impl UpkeepArgs {
    /// What they come to; the error is for the user.
    pub(crate) fn read(&self) -> Result<Upkeep, String> {
        let (mut initial, mut compact, mut lease, mut persist) = (
            self.experimental_initial_corrupt_check,
            self.experimental_compact_hash_check_enabled,
            self.experimental_enable_lease_checkpoint,
            self.experimental_enable_lease_checkpoint_persist,
        );
        for gate in &self.feature_gates {
            let (name, on) = gate.split_once('=').ok_or_else(|| format!("missing bool value for {gate}"))?;
            let on: bool = match on {
                "true" | "1" | "t" | "T" | "TRUE" | "True" => true,
                "false" | "0" | "f" | "F" | "FALSE" | "False" => false,
                other => {
                    return Err(format!(
                        "invalid value of {name}={other}, err: strconv.ParseBool: parsing {other:?}: invalid syntax"
                    ));
                }
            };
            if !GATES.contains(&name) {
                return Err(format!(
                    "unrecognized feature gate: {name}\nhint: --feature-gates knows {}",
                    GATES.join(", ")
                ));
            }
            match name {
                "InitialCorruptCheck" => initial = on,
                "CompactHashCheck" => compact = on,
                "LeaseCheckpoint" => lease = on,
                "LeaseCheckpointPersist" => persist = on,
                "AllAlpha" => {
                    (initial, compact, lease, persist) =
                        (initial || on, compact || on, lease || on, persist || on)
                }
                _ => {}
            }
        }
        if persist && !lease {
            return Err(
                "setting experimental-enable-lease-checkpoint-persist requires experimental-enable-lease-checkpoint".to_owned(),
            );
        }
        let time = |flag: &str, text: &str| {
            parse_duration(text)
                .map_err(|why| format!("--{flag} {text:?}: {why}\nhint: a time, such as 4h or 30m"))
        };
        let check = time("corrupt-check-time", &self.corrupt_check_time)?;
        let hash = time("compact-hash-check-time", &self.compact_hash_check_time)?;
        let checkpoint = match &self.lease_checkpoint_interval {
            None => LEASE_CHECKPOINT,
            Some(text) => time("lease-checkpoint-interval", text)?,
        };
        if compact && hash.is_zero() {
            return Err("--compact-hash-check-time must be greater than 0s".to_owned());
        }
        let intervals = [Some(check).filter(|time| !time.is_zero()), compact.then_some(hash)];
        Ok(Upkeep {
            initial_corrupt_check: initial,
            corrupt_check_interval: intervals.into_iter().flatten().min(),
            lease_checkpoint_interval: lease.then_some(checkpoint),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        upkeep: UpkeepArgs,
    }

    fn read(args: &[&str]) -> Result<Upkeep, String> {
        Line::try_parse_from([&["server"], args].concat()).map_err(|error| error.to_string())?.upkeep.read()
    }

    #[test]
    fn flags_of_all_ages_and_feature_gates_say_the_same() {
        assert_eq!(read(&[]).unwrap(), Upkeep::default());
        for args in
            [&["--experimental-initial-corrupt-check"][..], &["--feature-gates=InitialCorruptCheck=true"]]
        {
            assert!(read(args).unwrap().initial_corrupt_check, "{args:?}");
        }
        for flag in ["--corrupt-check-time=90m", "--experimental-corrupt-check-time=90m"] {
            let interval = read(&[flag]).unwrap().corrupt_check_interval;
            assert_eq!(interval, Some(Duration::from_secs(5400)), "{flag}");
        }
        let both = read(&["--corrupt-check-time=90m", "--feature-gates", "CompactHashCheck=true"]).unwrap();
        assert_eq!(both.corrupt_check_interval, Some(Duration::from_secs(60)));
        let lease = read(&["--feature-gates=LeaseCheckpoint=true,LeaseCheckpointPersist=true"]).unwrap();
        assert_eq!(lease.lease_checkpoint_interval, Some(LEASE_CHECKPOINT));
        let lease = read(&["--experimental-enable-lease-checkpoint"]).unwrap();
        assert_eq!(lease.lease_checkpoint_interval, Some(LEASE_CHECKPOINT));
        let often =
            read(&["--experimental-enable-lease-checkpoint", "--lease-checkpoint-interval=2s"]).unwrap();
        assert_eq!(often.lease_checkpoint_interval, Some(Duration::from_secs(2)));
        assert_eq!(read(&["--feature-gates=StopGRPCServiceOnDefrag=true"]).unwrap(), Upkeep::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_name() {
        for (args, text) in [
            ("--feature-gates=Nonsense=true", "unrecognized feature gate: Nonsense"),
            ("--feature-gates=LeaseCheckpoint", "missing bool value for LeaseCheckpoint"),
            ("--feature-gates=LeaseCheckpoint=maybe", "invalid value of LeaseCheckpoint=maybe"),
            (
                "--experimental-enable-lease-checkpoint-persist",
                "requires experimental-enable-lease-checkpoint",
            ),
            ("--corrupt-check-time=soon", "--corrupt-check-time"),
        ] {
            let error = read(&[args]).unwrap_err();
            assert!(error.contains(text), "{args}: {error}");
        }
    }
}
