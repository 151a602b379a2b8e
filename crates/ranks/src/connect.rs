//! How ranks find each other: rank 0 listens, and each other rank brings it two streams.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::pulse::Patience;
use crate::{Place, RankError};

/// What a stream begins with.
const GREETING: &[u8; 8] = b"enigma-1";
const HELLO_BYTES: usize = 17;
/// The answer of rank 0 once all are there; any other is a refusal.
const WELCOME: u8 = 1;
/// The longest refusal.
const REFUSAL_BYTES: u64 = 500;
/// Between two looks for who has come.
const LOOK: Duration = Duration::from_millis(20);
/// For a stranger to greet.
const GREETING_TIME: Duration = Duration::from_secs(2);
/// Before the first word about waiting, and between two.
const FIRST_WORD: Duration = Duration::from_secs(2);
const NEXT_WORD: Duration = Duration::from_secs(30);

/// The streams to the other ranks, or to rank 0: of numbers, and of pulses.
pub(crate) type Streams = [Vec<TcpStream>; 2];

/// Says now and then who is waited for.
struct Waiting<'a> {
    start: Instant,
    next: Duration,
    say: &'a mut dyn FnMut(&str),
}

impl<'a> Waiting<'a> {
    fn new(say: &'a mut dyn FnMut(&str)) -> Self {
        Self {
            start: Instant::now(),
            next: FIRST_WORD,
            say,
        }
    }

    fn on(&mut self, words: impl FnOnce() -> String) {
        let waited = self.start.elapsed();
        if waited >= self.next {
            self.next = waited + NEXT_WORD;
            (self.say)(&words());
        }
    }
}

/// Rank 0: listens until every other rank is there.
///
/// # Errors
/// Where it cannot listen, or a rank does not come in time.
pub(crate) fn listen(
    place: &Place,
    patience: Patience,
    say: &mut dyn FnMut(&str),
) -> Result<Streams, RankError> {
    let refused = |error: &io::Error| RankError::Listen {
        address: shown(place),
        reason: error.to_string(),
    };
    let listener = bind(place).map_err(|error| refused(&error))?;
    let set = listener.set_nonblocking(true);
    set.map_err(|error| refused(&error))?;
    let mut waiting = Waiting::new(say);
    let mut came: Vec<[Option<TcpStream>; 2]> = Vec::new();
    came.resize_with(place.size - 1, Default::default);
    loop {
        let missing: Vec<String> = (1..place.size)
            .filter(|rank| came[rank - 1].iter().any(Option::is_none))
            .map(|rank| format!("rank {rank}"))
            .collect();
        if missing.is_empty() {
            break;
        }
        let (missing, found) = (missing.join(", "), place.size - missing.len());
        if waiting.start.elapsed() >= patience.meeting {
            return Err(RankError::Missing {
                found,
                size: place.size,
                seconds: patience.meeting.as_secs(),
                missing,
            });
        }
        let size = place.size;
        waiting.on(|| {
            let address = shown(place);
            format!("waiting at {address} for {missing}: {found} of {size} ranks are here")
        });
        match listener.accept() {
            Ok((stream, _)) => greet(stream, place, &mut came),
            Err(_) => sleep(LOOK),
        }
    }
    let mut streams = Streams::default();
    for (number, pair) in came.into_iter().enumerate() {
        let [numbers, pulse] = pair.map(|stream| stream.expect("none is missing"));
        let welcomed = (&numbers).write_all(&[WELCOME]);
        welcomed.map_err(|_| RankError::Lost {
            rank: number + 1,
            reason: "ended before all ranks had met".to_owned(),
        })?;
        streams[0].push(numbers);
        streams[1].push(pulse);
    }
    Ok(streams)
}

/// Takes a stream in, or sends it away.
fn greet(stream: TcpStream, place: &Place, came: &mut [[Option<TcpStream>; 2]]) {
    // A stranger, such as a port scan, is nobody's failure.
    let Ok([kind, rank, size]) = hello(&stream) else {
        return;
    };
    let reason = if size != place.size {
        format!("it is one of {size} ranks, expected {}", place.size)
    } else if !(1..place.size).contains(&rank) || kind > 1 {
        format!("expected a rank from 1 to {}", place.size - 1)
    } else if came[rank - 1][kind].is_some() {
        format!("another process is rank {rank}")
    } else {
        came[rank - 1][kind] = Some(stream);
        return;
    };
    let _ = (&stream).write_all(&[&[0][..], reason.as_bytes()].concat());
}

fn hello(mut stream: &TcpStream) -> io::Result<[usize; 3]> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(GREETING_TIME))?;
    let mut bytes = [0; HELLO_BYTES];
    stream.read_exact(&mut bytes)?;
    stream.set_read_timeout(None)?;
    if !bytes.starts_with(GREETING) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let number = |at: usize| {
        let bytes = bytes[at..at + 4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes) as usize
    };
    Ok([usize::from(bytes[8]), number(9), number(13)])
}

/// Any other rank: reaches rank 0, and waits until all have.
///
/// # Errors
/// Where rank 0 is not there in time, refuses, or gives up.
pub(crate) fn reach(
    place: &Place,
    patience: Patience,
    say: &mut dyn FnMut(&str),
) -> Result<Streams, RankError> {
    let mut waiting = Waiting::new(say);
    let numbers = stream(place, 0, patience, &mut waiting)?;
    let pulse = stream(place, 1, patience, &mut waiting)?;
    let left = |error: &io::Error| RankError::Unreachable {
        rank: place.rank,
        address: shown(place),
        seconds: waiting.start.elapsed().as_secs(),
        reason: error.to_string(),
    };
    // Rank 0 gives up first, and so is heard.
    let most = patience.meeting + patience.silence;
    let set = numbers.set_read_timeout(Some(most));
    set.map_err(|error| left(&error))?;
    let mut answer = [0];
    (&numbers)
        .read_exact(&mut answer)
        .map_err(|_| RankError::Lost {
            rank: 0,
            reason: "ended, or gave up waiting, before all ranks had met".to_owned(),
        })?;
    if answer != [WELCOME] {
        let mut reason = String::new();
        let _ = (&numbers).take(REFUSAL_BYTES).read_to_string(&mut reason);
        let rank = place.rank;
        return Err(RankError::Refused { rank, reason });
    }
    let set = numbers.set_read_timeout(None);
    set.map_err(|error| left(&error))?;
    Ok([vec![numbers], vec![pulse]])
}

/// A stream to rank 0, once that is there.
fn stream(
    place: &Place,
    kind: u8,
    patience: Patience,
    waiting: &mut Waiting,
) -> Result<TcpStream, RankError> {
    loop {
        let error = match greeted(place, kind) {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        if waiting.start.elapsed() >= patience.meeting {
            return Err(RankError::Unreachable {
                rank: place.rank,
                address: shown(place),
                seconds: patience.meeting.as_secs(),
                reason: error.to_string(),
            });
        }
        let (rank, address) = (place.rank, shown(place));
        waiting.on(|| format!("rank {rank} waits for rank 0 at {address}: {error}"));
        sleep(10 * LOOK);
    }
}

fn greeted(place: &Place, kind: u8) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addresses(place)?.as_slice())?;
    // On a loopback interface a stream can meet itself where nobody listens.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    let (rank, size) = (place.rank as u32, place.size as u32);
    let hello = [
        &GREETING[..],
        &[kind],
        &rank.to_le_bytes(),
        &size.to_le_bytes(),
    ];
    (&stream).write_all(&hello.concat())?;
    Ok(stream)
}

/// Listens on a loopback interface where the ranks are told to meet there, and else on all.
fn bind(place: &Place) -> io::Result<TcpListener> {
    let addresses = addresses(place)?;
    if addresses.iter().all(|address| address.ip().is_loopback()) {
        return TcpListener::bind(addresses.as_slice());
    }
    let port = place.address.1;
    TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port)))
}

fn addresses(place: &Place) -> io::Result<Vec<SocketAddr>> {
    let (host, port) = &place.address;
    Ok((host.as_str(), *port).to_socket_addrs()?.collect())
}

fn shown(place: &Place) -> String {
    let (host, port) = &place.address;
    format!("{host}:{port}")
}
