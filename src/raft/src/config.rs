//! Changes of the configuration as functions from one configuration to the next (Raft §6, thesis §4).

use crate::message::{Config, ConfigChange, ConfigStep};
use seatrial_types::MemberId;
use std::collections::BTreeSet;

/// Why a change of configuration cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ConfigError {
    /// Nobody would be left to vote.
    #[error("the change would remove all voters")]
    NoVoters,
    /// A joint configuration must be left before anything else changes.
    #[error("the configuration is joint: voters {voters:?} with outgoing {outgoing:?}")]
    Joint {
        /// The incoming voters.
        voters: BTreeSet<MemberId>,
        /// The outgoing voters.
        outgoing: BTreeSet<MemberId>,
    },
    /// Only a joint configuration can be left.
    #[error("the configuration is not joint")]
    NotJoint,
    /// A configuration without voters cannot become joint.
    #[error("a configuration without voters cannot become joint")]
    NoVotersToJoin,
    /// Two majorities which differ by two voters need not overlap (thesis §4.1).
    #[error("{changed:?} would change in one step; without a joint configuration only one voter may")]
    ManyVoters {
        /// The voters that would come or go.
        changed: Vec<MemberId>,
    },
}

impl Config {
    /// A simple configuration of these voters.
    #[must_use]
    pub fn of(voters: impl IntoIterator<Item = MemberId>) -> Self {
        Self { voters: voters.into_iter().collect(), ..Self::default() }
    }

    /// Whether both halves must agree.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether `member` votes, in either half.
    #[must_use]
    pub fn is_voter(&self, member: MemberId) -> bool {
        self.voters.contains(&member) || self.outgoing.contains(&member)
    }

    /// Whether `member` listens without a vote.
    #[must_use]
    pub fn is_learner(&self, member: MemberId) -> bool {
        self.learners.contains(&member)
    }

    /// Whether `member` receives the log.
    #[must_use]
    pub fn contains(&self, member: MemberId) -> bool {
        self.is_voter(member) || self.is_learner(member)
    }

    /// The voters of both halves, each once.
    pub fn all_voters(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.voters.union(&self.outgoing).copied()
    }

    /// Everybody that receives the log, each once.
    pub fn members(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.all_voters().chain(self.learners.iter().copied())
    }

    /// Panics where the promises of the fields' docs are broken.
    pub fn check(&self) {
        for learner in &self.learners {
            assert!(!self.is_voter(*learner), "member {learner} is learner and voter in {self:?}");
        }
        for next in &self.learners_next {
            assert!(self.outgoing.contains(next), "future learner {next} is not outgoing in {self:?}");
            assert!(!self.voters.contains(next), "future learner {next} is incoming in {self:?}");
        }
        assert!(self.is_joint() || !self.auto_leave, "auto-leave of a simple configuration {self:?}");
        assert!(!self.contains(MemberId::NONE), "no member is a member in {self:?}");
        assert!(!self.is_joint() || !self.voters.is_empty(), "joint without incoming voters: {self:?}");
    }
}

/// The configuration after a change as it was proposed: in one step where at most one voter comes or
/// goes, else the joint configuration that leads to it and is left by itself.
pub fn changed(config: &Config, change: &ConfigChange) -> Result<Config, ConfigError> {
    match simple(config, &change.steps) {
        Err(ConfigError::ManyVoters { .. }) => enter_joint(config, &change.steps, true),
        result => result,
    }
}

/// One step: at most one voter comes or goes (thesis §4.1). Learners change freely.
pub fn simple(config: &Config, steps: &[ConfigStep]) -> Result<Config, ConfigError> {
    refuse_joint(config)?;
    let next = apply(config.clone(), steps)?;
    let changed: Vec<MemberId> = config.voters.symmetric_difference(&next.voters).copied().collect();
    if changed.len() > 1 {
        return Err(ConfigError::ManyVoters { changed });
    }
    next.check();
    Ok(next)
}

/// The joint configuration between `config` and the one that `steps` lead to (Raft §6).
pub fn enter_joint(config: &Config, steps: &[ConfigStep], auto_leave: bool) -> Result<Config, ConfigError> {
    refuse_joint(config)?;
    if config.voters.is_empty() {
        return Err(ConfigError::NoVotersToJoin);
    }
    let next = apply(Config { outgoing: config.voters.clone(), auto_leave, ..config.clone() }, steps)?;
    next.check();
    Ok(next)
}

/// The configuration after a joint one.
pub fn leave_joint(config: &Config) -> Result<Config, ConfigError> {
    if !config.is_joint() {
        return Err(ConfigError::NotJoint);
    }
    let learners = config.learners.union(&config.learners_next).copied().collect();
    let next = Config { voters: config.voters.clone(), learners, ..Config::default() };
    next.check();
    Ok(next)
}

fn refuse_joint(config: &Config) -> Result<(), ConfigError> {
    if config.is_joint() {
        let (voters, outgoing) = (config.voters.clone(), config.outgoing.clone());
        return Err(ConfigError::Joint { voters, outgoing });
    }
    Ok(())
}

fn apply(mut config: Config, steps: &[ConfigStep]) -> Result<Config, ConfigError> {
    for step in steps {
        match *step {
            // Member 0 is "none": etcd's clients use it to cancel one step of several.
            ConfigStep::AddVoter(MemberId::NONE)
            | ConfigStep::AddLearner(MemberId::NONE)
            | ConfigStep::Remove(MemberId::NONE) => {}
            ConfigStep::AddVoter(member) => {
                config.learners.remove(&member);
                config.learners_next.remove(&member);
                config.voters.insert(member);
            }
            ConfigStep::AddLearner(member) => {
                config.voters.remove(&member);
                // Who still votes in the outgoing half becomes a learner only when that half is left:
                // nobody may be voter and learner at once.
                if config.outgoing.contains(&member) {
                    config.learners_next.insert(member);
                } else {
                    config.learners.insert(member);
                }
            }
            ConfigStep::Remove(member) => {
                config.voters.remove(&member);
                config.learners.remove(&member);
                config.learners_next.remove(&member);
            }
        }
    }
    if config.voters.is_empty() {
        return Err(ConfigError::NoVoters);
    }
    Ok(config)
}
