//! What keeps processes from being one run.

/// Why a place cannot be read from the environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// One variable without the other.
    #[error(
        "{set} is set but {missing} is not; expected both, as a launcher sets them, or neither \
         for one process"
    )]
    Half {
        /// The variable that is there.
        set: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// A number that is none, or out of range.
    #[error("{name} is `{found}`; expected {expected}")]
    Value {
        /// The variable.
        name: &'static str,
        /// Its value.
        found: String,
        /// What it can be.
        expected: String,
    },
    /// Several ranks, and no place where they meet.
    #[error(
        "{missing} is not set; expected it with {name} = {size}: MASTER_ADDR and MASTER_PORT say \
         where rank 0 listens"
    )]
    NoAddress {
        /// The variable that is not there.
        missing: &'static str,
        /// The variable of the world's size.
        name: &'static str,
        /// Its value.
        size: usize,
    },
}

/// Why ranks are not, or no longer, one run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RankError {
    /// Rank 0 cannot listen.
    #[error("rank 0 cannot listen at {address}: {reason}; choose another MASTER_PORT")]
    Listen {
        /// Where.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// Rank 0 is not there.
    #[error(
        "rank {rank} did not reach rank 0 at {address} within {seconds} s: {reason}; MASTER_ADDR \
         and MASTER_PORT say where it listens"
    )]
    Unreachable {
        /// The rank that tried.
        rank: usize,
        /// Where.
        address: String,
        /// For how long.
        seconds: u64,
        /// The system's words.
        reason: String,
    },
    /// Not all ranks came.
    #[error("{found} of {size} ranks met within {seconds} s; missing: {missing}")]
    Missing {
        /// Ranks that came.
        found: usize,
        /// Ranks there are to be.
        size: usize,
        /// How long they were waited for.
        seconds: u64,
        /// The others, as `rank 2, rank 3`.
        missing: String,
    },
    /// Rank 0 does not take a rank.
    #[error("rank 0 refuses rank {rank}: {reason}")]
    Refused {
        /// The rank that asked.
        rank: usize,
        /// Why.
        reason: String,
    },
    /// A rank is not there any more.
    #[error("rank {rank} {reason}")]
    Lost {
        /// The rank.
        rank: usize,
        /// What became of it.
        reason: String,
    },
    /// What ranks do by other means than TCP fails on this one, and none is lost.
    #[error("{reason}")]
    Elsewhere {
        /// The words of what failed.
        reason: String,
    },
    /// A rank has something else than rank 0.
    #[error("rank {rank} has other {what} than rank 0: {found}, expected {expected}")]
    Differs {
        /// The first that differs.
        rank: usize,
        /// What was compared.
        what: String,
        /// Its digest, in hexadecimal digits.
        found: String,
        /// That of rank 0.
        expected: String,
    },
    /// A rank does something else.
    #[error(
        "rank {rank} is at another point of the run: it sends {found}, expected {expected}; start \
         all ranks from the same binary with the same arguments"
    )]
    OutOfStep {
        /// The rank.
        rank: usize,
        /// What came.
        found: String,
        /// What should have come.
        expected: String,
    },
}
