//! The stream of numbers between rank 0 and another rank: frames, each with what it is for.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use crate::Element;

/// Bytes that go over a stream at once.
const PART_BYTES: usize = 1 << 16;

/// The head of a frame: an operation, its number, and the bytes that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) operation: Operation,
    pub(crate) number: u64,
    pub(crate) bytes: u64,
}

/// What ranks do together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Operation {
    Gather = 1,
    Sum = 2,
    SumElsewhere = 3,
}

impl Head {
    const BYTES: usize = 17;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[0] = self.operation as u8;
        bytes[1..9].copy_from_slice(&self.number.to_le_bytes());
        bytes[9..].copy_from_slice(&self.bytes.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let operations = [Operation::Gather, Operation::Sum, Operation::SumElsewhere];
        let operation = operations.into_iter().find(|o| *o as u8 == bytes[0])?;
        let number = |at: usize| {
            let bytes = bytes[at..at + 8].try_into().expect("eight bytes");
            u64::from_le_bytes(bytes)
        };
        Some(Self {
            operation,
            number: number(1),
            bytes: number(9),
        })
    }
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            operation,
            number,
            bytes,
        } = self;
        let name = match operation {
            Operation::Gather => "gather",
            Operation::Sum => "sum",
            Operation::SumElsewhere => "sum elsewhere",
        };
        write!(f, "{name} {number} of {bytes} bytes")
    }
}

/// Sends a frame.
///
/// # Errors
/// Where the other end is gone.
pub(crate) fn send(mut stream: &TcpStream, head: Head, content: &[u8]) -> io::Result<()> {
    stream.write_all(&head.to_bytes())?;
    stream.write_all(content)
}

/// Sends a frame of numbers.
///
/// # Errors
/// Where the other end is gone.
pub(crate) fn send_numbers<T: Element>(
    mut stream: &TcpStream,
    head: Head,
    numbers: &[T],
) -> io::Result<()> {
    stream.write_all(&head.to_bytes())?;
    let mut part = vec![0; PART_BYTES];
    for numbers in numbers.chunks(PART_BYTES / T::BYTES) {
        let part = &mut part[..numbers.len() * T::BYTES];
        for (bytes, &number) in part.chunks_exact_mut(T::BYTES).zip(numbers) {
            number.write(bytes);
        }
        stream.write_all(part)?;
    }
    Ok(())
}

/// The head of the next frame; `None` where it is none.
///
/// # Errors
/// Where the other end is gone.
pub(crate) fn receive_head(mut stream: &TcpStream) -> io::Result<Option<Head>> {
    let mut bytes = [0; Head::BYTES];
    stream.read_exact(&mut bytes)?;
    Ok(Head::from_bytes(bytes))
}

/// The content of a frame, which grows as it arrives: its length is the other end's word.
///
/// # Errors
/// Where the other end is gone.
pub(crate) fn receive(stream: &TcpStream, bytes: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    stream.take(bytes).read_to_end(&mut content)?;
    if (content.len() as u64) < bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(content)
}

/// Takes a frame of as many numbers, one after the other: `take` is given the old and the new.
///
/// # Errors
/// Where the other end is gone.
pub(crate) fn receive_numbers<T: Element>(
    mut stream: &TcpStream,
    numbers: &mut [T],
    take: impl Fn(&mut T, T),
) -> io::Result<()> {
    let mut part = vec![0; PART_BYTES];
    for numbers in numbers.chunks_mut(PART_BYTES / T::BYTES) {
        let part = &mut part[..numbers.len() * T::BYTES];
        stream.read_exact(part)?;
        for (bytes, number) in part.chunks_exact(T::BYTES).zip(numbers) {
            take(number, T::read(bytes));
        }
    }
    Ok(())
}
