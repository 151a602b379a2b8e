//! The pulse: how ranks know of each other that they live, and why one fails.
//!
//! Over a stream of its own each end says a byte a second. Who hears nothing for long, or finds the
//! stream closed, declares the other rank lost and closes the streams of numbers, which wakes
//! whoever waits there. Rank 0 passes on to all what it hears of one.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::RankError;

/// How long ranks wait for each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For all to meet.
    pub(crate) meeting: Duration,
    /// Between two beats.
    pub(crate) beat: Duration,
    /// For a beat, before a rank counts as lost.
    pub(crate) silence: Duration,
}

impl Patience {
    /// Ten minutes to meet, as Slurm and images on slow disks ask for; thirty silent seconds.
    pub(crate) const USUAL: Self = Self {
        meeting: Duration::from_mins(10),
        beat: Duration::from_secs(1),
        silence: Duration::from_secs(30),
    };
}

/// How long the word of why a stream closed may be behind its close.
const WORD_IS_BEHIND: Duration = Duration::from_secs(2);
/// The longest reason that is passed on.
const REASON_BYTES: usize = 2000;

const BEAT: u8 = b'.';
const END: u8 = b'E';
const LOST: u8 = b'L';

/// What all threads of a rank know.
#[derive(Debug)]
pub(crate) struct Shared {
    lost: Mutex<Option<RankError>>,
    told: Condvar,
    numbers: Vec<TcpStream>,
    /// The other ends of the pulses, as their ranks.
    peers: Vec<usize>,
    pulses: Vec<Mutex<TcpStream>>,
    is_over: AtomicBool,
    /// The first of the peers that ended in good order.
    ended: OnceLock<usize>,
}

impl Shared {
    /// Begins to beat on every pulse, and to listen.
    ///
    /// # Errors
    /// Where the system refuses.
    pub(crate) fn begin(
        peers: &[usize],
        numbers: &[TcpStream],
        pulses: &[TcpStream],
        patience: Patience,
    ) -> io::Result<Arc<Self>> {
        let copies = |streams: &[TcpStream]| -> io::Result<Vec<TcpStream>> {
            streams.iter().map(TcpStream::try_clone).collect()
        };
        let shared = Arc::new(Self {
            lost: Mutex::new(None),
            told: Condvar::new(),
            numbers: copies(numbers)?,
            peers: peers.to_vec(),
            pulses: copies(pulses)?.into_iter().map(Mutex::new).collect(),
            is_over: AtomicBool::new(false),
            ended: OnceLock::new(),
        });
        for (index, stream) in copies(pulses)?.into_iter().enumerate() {
            stream.set_read_timeout(Some(patience.beat))?;
            let shared = Arc::clone(&shared);
            let name = format!("pulse of rank {}", peers[index]);
            let listen = move || listen(&shared, index, &stream, patience);
            thread::Builder::new().name(name).spawn(listen)?;
        }
        Ok(shared)
    }

    /// Why the stream of numbers to `rank` closed.
    pub(crate) fn verdict(&self, rank: usize) -> RankError {
        self.awaited_word().unwrap_or_else(|| gone_ahead(rank))
    }

    /// Who was lost, or has ended, where something failed that another rank may be the cause of.
    pub(crate) fn cause(&self) -> Option<RankError> {
        let ended = || self.ended.get().copied().map(gone_ahead);
        self.awaited_word().or_else(ended)
    }

    fn awaited_word(&self) -> Option<RankError> {
        let lost = self.lock();
        let waited = self
            .told
            .wait_timeout_while(lost, WORD_IS_BEHIND, |lost| lost.is_none());
        let (lost, _) = waited.unwrap_or_else(PoisonError::into_inner);
        lost.clone()
    }

    /// Whether no peer was lost, and none has ended.
    pub(crate) fn is_whole(&self) -> bool {
        self.ended.get().is_none() && self.lock().is_none()
    }

    /// Declares a rank lost: tells all others, and wakes who waits for numbers. The first that is
    /// lost is the cause, and stays.
    pub(crate) fn declare(&self, rank: usize, reason: &str) {
        let mut lost = self.lock();
        if lost.is_some() || self.is_over.load(Ordering::SeqCst) {
            return;
        }
        *lost = Some(RankError::Lost {
            rank,
            reason: reason.to_owned(),
        });
        let word = word(rank, reason);
        for (pulse, &peer) in self.pulses.iter().zip(&self.peers) {
            if peer != rank {
                say(pulse, &word);
            }
        }
        // Not before: who learns of it here ends, and would be taken for the cause.
        drop(lost);
        self.told.notify_all();
        for stream in &self.numbers {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Ends in good order: nobody is lost by it.
    pub(crate) fn end(&self) {
        if !self.is_over.swap(true, Ordering::SeqCst) {
            for pulse in &self.pulses {
                say(pulse, &[END]);
                let pulse = pulse.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = pulse.shutdown(Shutdown::Write);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<RankError>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A rank that cannot be told is found by its silence.
fn say(pulse: &Mutex<TcpStream>, word: &[u8]) {
    let mut pulse = pulse.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = pulse.write_all(word);
}

/// The word that a rank is lost.
fn word(rank: usize, reason: &str) -> Vec<u8> {
    let mut end = reason.len().min(REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut word = vec![LOST];
    word.extend((rank as u32).to_le_bytes());
    word.extend((end as u32).to_le_bytes());
    word.extend(&reason.as_bytes()[..end]);
    word
}

/// What a word says.
enum Heard {
    Ended,
    Lost(usize, String),
}

/// Takes what is whole off the front of what came; beats say nothing more.
fn heard(came: &mut Vec<u8>) -> Option<Heard> {
    let beats = came.iter().take_while(|&&byte| byte == BEAT).count();
    came.drain(..beats);
    let number = |at: usize| -> Option<usize> {
        let bytes = came.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes) as usize)
    };
    match came.first()? {
        &LOST => {
            let (rank, bytes) = (number(1)?, number(5)?);
            let reason = came.get(9..9 + bytes)?;
            Some(Heard::Lost(
                rank,
                String::from_utf8_lossy(reason).into_owned(),
            ))
        }
        _ => Some(Heard::Ended),
    }
}

fn listen(shared: &Shared, index: usize, mut stream: &TcpStream, patience: Patience) {
    let peer = shared.peers[index];
    let gone = "ended without a word: killed, or its machine or network is gone";
    // Not by the clock, which goes on while this process itself is stopped.
    let mut missed_beats = 0;
    let mut last_said = None::<Instant>;
    let (mut came, mut part) = (Vec::new(), [0; 512]);
    while !shared.is_over.load(Ordering::SeqCst) {
        if last_said.is_none_or(|said| said.elapsed() >= patience.beat) {
            last_said = Some(Instant::now());
            say(&shared.pulses[index], &[BEAT]);
        }
        match stream.read(&mut part) {
            Ok(0) => return shared.declare(peer, gone),
            Ok(bytes) => {
                missed_beats = 0;
                came.extend(&part[..bytes]);
            }
            Err(error) if is_timeout(&error) => {
                missed_beats += 1;
                let silent = patience.beat * missed_beats;
                if silent >= patience.silence {
                    let seconds = silent.as_secs();
                    let reason = format!(
                        "has been silent for {seconds} s: stopped, or its machine or network is \
                         gone"
                    );
                    return shared.declare(peer, &reason);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return shared.declare(peer, gone),
        }
        match heard(&mut came) {
            Some(Heard::Lost(rank, reason)) => return shared.declare(rank, &reason),
            Some(Heard::Ended) => {
                shared.ended.get_or_init(|| peer);
                return;
            }
            None => {}
        }
    }
}

/// A rank that others still wait for, though it has ended in good order.
fn gone_ahead(rank: usize) -> RankError {
    RankError::Lost {
        rank,
        reason: "has ended, while others go on".to_owned(),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
