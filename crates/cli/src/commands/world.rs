//! A run that several processes make: where they meet, what they agree on, and what the others do
//! while rank 0 writes the run and shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use model::Transformer;
use ranks::{Place, RankError, Ranks};
use record::{Position, StepRecord};
use sha2::{Digest, Sha256};
use trainer::{Keeper, NotKept, Observer, TrainError};

use super::begin::comparable;
use crate::error::{Failure, InputError};
use crate::signals::{Signal, Signals};
use crate::terminal::Screen;

/// The place of this process, as its launcher says.
///
/// # Errors
/// Where the environment says half of it.
pub(super) fn place() -> Result<Place, InputError> {
    let place = Place::from_environment(|name| std::env::var(name).ok());
    place.map_err(|error| InputError::Said(error.to_string()))
}

/// Passes where this process is the only one.
///
/// # Errors
/// Where a launcher has started several.
pub(super) fn require_alone(place: &Place, what: &'static str) -> Result<(), InputError> {
    match place.size {
        1 => Ok(()),
        size => Err(InputError::Alone { what, size }),
    }
}

/// Meets the other ranks, and holds what each is about to do against what rank 0 is.
///
/// # Errors
/// Where not all come, or one has another recipe or other inputs.
pub(super) fn meet<R: serde::Serialize>(
    place: &Place,
    plan: &R,
    inputs: &BTreeMap<String, String>,
    screen: &Screen,
) -> Result<Ranks, InputError> {
    let said = |error: RankError| InputError::Said(error.to_string());
    let ranks = Ranks::connect(place, &mut |words| screen.line(words)).map_err(said)?;
    let mut own = comparable(plan);
    own.extend(inputs.clone());
    let version = env!("CARGO_PKG_VERSION").to_owned();
    own.insert("the version of enigma".to_owned(), version);
    let bytes = serde_json::to_vec(&own).expect("texts are plain values");
    let all = ranks.all_gather(&bytes).map_err(said)?;
    let tables = all
        .iter()
        .map(|bytes| serde_json::from_slice(bytes).unwrap_or_default());
    let tables: Vec<BTreeMap<String, String>> = tables.collect();
    let keys: BTreeSet<&String> = tables.iter().flat_map(BTreeMap::keys).collect();
    for (rank, table) in tables.iter().enumerate() {
        if let Some(&key) = keys
            .iter()
            .find(|&&key| table.get(key) != tables[0].get(key))
        {
            let shown = |table: &BTreeMap<String, String>| {
                table.get(key).map_or("not set", String::as_str).to_owned()
            };
            return Err(InputError::OtherRank {
                rank,
                key: key.clone(),
                found: shown(table),
                expected: shown(&tables[0]),
            });
        }
    }
    Ok(ranks)
}

/// Ends a rank: where it fails, the others are told why, and end too.
///
/// # Errors
/// The failure, with its rank if it is not that of rank 0.
pub(super) fn ended(ranks: &Ranks, made: Result<(), Failure>) -> Result<(), Failure> {
    let Err(failure) = made else {
        return Ok(());
    };
    if !matches!(failure, Failure::Interrupted { .. }) {
        ranks.fail(&failure.to_string());
    }
    if ranks.is_first() {
        return Err(failure);
    }
    Err(Failure::OfRank {
        rank: ranks.rank(),
        failure: Box::new(failure),
    })
}

/// What ranks agree on between two steps: whether the run goes on, and that all have learnt the
/// same.
pub(super) struct Agreement<'a> {
    ranks: &'a Ranks,
    pub(super) signals: Signals,
    stopped: Option<Signal>,
}

impl<'a> Agreement<'a> {
    /// # Errors
    /// Where the system does not let signals be watched.
    pub(super) fn new(ranks: &'a Ranks) -> Result<Self, Failure> {
        let signals = Signals::watch();
        let signals = signals.map_err(|error| Failure::Run(format!("signals: {error}")))?;
        Ok(Self {
            ranks,
            signals,
            stopped: None,
        })
    }

    /// Whether a signal reached any of the ranks: it then ends all of them after the same step.
    ///
    /// # Errors
    /// Where a rank is lost.
    pub(super) fn is_stopped(&mut self) -> Result<bool, RankError> {
        let own = self.signals.caught().map_or(0, Signal::exit_code);
        let all = self.ranks.all_gather(&[own])?;
        let codes = all.iter().flatten().copied();
        self.stopped = codes.max().and_then(Signal::of_exit_code);
        Ok(self.stopped.is_some())
    }

    /// The signal that ends the run.
    pub(super) fn stopped(&self) -> Option<Signal> {
        self.stopped.or_else(|| self.signals.caught())
    }

    /// Passes where all ranks have the same trained weights, to the bit.
    ///
    /// # Errors
    /// Where one has others, or is lost.
    pub(super) fn agree(&self, policy: &Transformer) -> Result<(), RankError> {
        agree(self.ranks, policy)
    }
}

/// As [`Agreement::agree`].
///
/// # Errors
/// As [`Agreement::agree`].
pub(super) fn agree(ranks: &Ranks, policy: &Transformer) -> Result<(), RankError> {
    // A digest of billions of weights takes seconds, and one process has nobody to agree with.
    if ranks.size() == 1 {
        return Ok(());
    }
    let mut digest = Sha256::new();
    policy.read_trained(|values| {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        digest.update(bytes);
    });
    ranks.agree("trained weights (SHA-256)", &digest.finalize())
}

/// What a rank other than 0 is told between two steps; it keeps nothing.
pub(super) struct Follower<'a> {
    agreement: Agreement<'a>,
    step: usize,
}

impl<'a> Follower<'a> {
    /// # Errors
    /// Where the system does not let signals be watched.
    pub(super) fn new(ranks: &'a Ranks) -> Result<Self, Failure> {
        Ok(Self {
            agreement: Agreement::new(ranks)?,
            step: 0,
        })
    }

    /// Has `steps` make this rank's part of the steps of `run`.
    ///
    /// # Errors
    /// Where a step fails, a rank is lost, or a signal ended the run.
    pub(super) fn watch<T>(
        &mut self,
        run: &Path,
        of_steps: usize,
        steps: impl FnOnce(&mut Self) -> Result<T, TrainError>,
    ) -> Result<T, Failure> {
        self.agreement.signals.wait_for_steps();
        let made = steps(self);
        self.agreement.signals.end_at_once();
        let run = run.to_owned();
        let made = made.map_err(|error| match error {
            TrainError::Ranks { .. } => Failure::RankLost {
                reason: error.to_string(),
                run: run.clone(),
            },
            other => Failure::Run(other.to_string()),
        })?;
        match self.agreement.stopped() {
            None => Ok(made),
            Some(signal) => Err(Failure::Interrupted {
                signal,
                step: self.step,
                steps: of_steps,
                run,
            }),
        }
    }
}

impl Observer for Follower<'_> {
    fn step(&mut self, record: &StepRecord) {
        self.step = record.step;
    }
}

impl Keeper<Transformer> for Follower<'_> {
    fn is_stopped(&mut self) -> Result<bool, RankError> {
        self.agreement.is_stopped()
    }

    fn agree(&mut self, policy: &Transformer) -> Result<(), RankError> {
        self.agreement.agree(policy)
    }

    fn keep(&mut self, _: &Transformer, _: &Position) -> Result<(), NotKept> {
        Ok(())
    }
}
