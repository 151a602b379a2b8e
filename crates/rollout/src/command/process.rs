//! A running program, its pipes, and how it ends.
//!
//! Threads of their own write to it and read from it, so that a full pipe on either side holds
//! nobody up. They end when the program's pipes close.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::{Command, protocol};
use crate::{Grade, Item, Ungraded};

/// How long a program may take to end after its input has.
const GRACE: Duration = Duration::from_secs(1);

/// Bytes of a line; of a longer one each such part counts as a line.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Lines that wait to be read.
const LINES_MAX: usize = 256;

/// Lines of its errors that are remembered.
const ERROR_LINES_MAX: usize = 20;

/// Characters of its last words that are told.
const LAST_WORDS_MAX: usize = 160;

/// A program that is ready for a batch.
pub(super) struct Process {
    child: Child,
    /// `None` once its input is closed.
    questions: Option<Sender<String>>,
    lines: Receiver<Vec<u8>>,
    errors: Arc<Mutex<VecDeque<String>>>,
    next_id: u64,
}

/// How a batch ended before all was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Late,
    Died,
    Garbage,
}

impl End {
    /// What it makes of a completion that was not answered.
    pub(super) fn ungraded(self) -> Ungraded {
        match self {
            Self::Late => Ungraded::Late,
            Self::Died => Ungraded::Crashed,
            Self::Garbage => Ungraded::Malformed,
        }
    }
}

impl Process {
    /// Starts the program.
    ///
    /// # Errors
    /// What the system says where it cannot.
    pub(super) fn start(command: &Command) -> Result<Self, String> {
        let (program, arguments) = command.program.split_first().expect("a program");
        let folder = &command.working_directory;
        let mut found = if program.contains(std::path::MAIN_SEPARATOR) {
            std::process::Command::new(folder.join(program))
        } else {
            std::process::Command::new(program)
        };
        let mut child = found
            .args(arguments)
            .current_dir(folder)
            // Python holds back what it prints into a pipe, and would never answer.
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("`{program}` cannot be started: {error}"))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (questions, to_write) = channel();
        let (to_read, lines) = sync_channel(LINES_MAX);
        let errors = Arc::default();
        if let (Some(input), Some(output), Some(error)) = (input, output, child.stderr.take()) {
            let errors = Arc::clone(&errors);
            thread::spawn(move || write(input, &to_write));
            thread::spawn(move || read(output, &to_read));
            thread::spawn(move || remember(error, &errors));
        }
        Ok(Self {
            child,
            questions: Some(questions),
            lines,
            errors,
            next_id: 0,
        })
    }

    /// The answers to a batch, `None` where there is none, and what went wrong where something did;
    /// the program is then not to be asked again.
    pub(super) fn ask(
        &mut self,
        batch: &[Item],
        timeout: Duration,
    ) -> (Vec<Option<Grade>>, Option<(End, String)>) {
        let deadline = Instant::now() + timeout;
        let first = self.next_id;
        self.next_id += batch.len() as u64;
        let questions = (first..).zip(batch);
        let text = questions.map(|(id, item)| protocol::question(id, batch.len(), item));
        if let Some(questions) = &self.questions {
            // Where nobody reads any more, no answer will come either.
            let _ = questions.send(text.collect());
        }
        let mut answers: Vec<Option<Grade>> = vec![None; batch.len()];
        let (mut open, mut unreadable) = (batch.len(), 0);
        while open > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = match self.lines.recv_timeout(left) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => {
                    let reason = format!("no answer within {} s", timeout.as_secs_f64());
                    return (answers, Some((End::Late, self.with_last_words(reason))));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let reason = self.wait();
                    return (answers, Some((End::Died, self.with_last_words(reason))));
                }
            };
            let answer = protocol::answer(&line);
            let slot = answer.and_then(|(id, grade)| {
                let index = usize::try_from(id.checked_sub(first)?).ok()?;
                let slot = answers.get_mut(index).filter(|slot| slot.is_none())?;
                Some((slot, grade))
            });
            if let Some((slot, grade)) = slot {
                *slot = Some(grade);
                open -= 1;
            } else if !line.trim_ascii().is_empty() {
                unreadable += 1;
            }
            // One that has answered before may print besides; one that only prints never answers.
            if open == batch.len() && unreadable >= batch.len() {
                let line = shortened(&String::from_utf8_lossy(&line));
                let reason = format!("its answer cannot be read: {line}");
                return (answers, Some((End::Garbage, reason)));
            }
        }
        (answers, None)
    }

    /// Its id with the system.
    #[cfg(test)]
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a program that has closed its output, and says how it ended.
    fn wait(&mut self) -> String {
        match self.end_within(GRACE) {
            Some(status) => format!("it ended with {status}"),
            None => "it closed its output".to_owned(),
        }
    }

    fn with_last_words(&self, reason: String) -> String {
        // The thread that remembers may still be reading what a program said as it died.
        thread::sleep(Duration::from_millis(20));
        let errors = self.errors.lock().expect("nobody panics with it");
        match errors.iter().rev().find(|line| !line.trim().is_empty()) {
            Some(line) => format!("{reason}; its last words: {}", shortened(line)),
            None => reason,
        }
    }

    fn end_within(&mut self, grace: Duration) -> Option<std::process::ExitStatus> {
        let deadline = Instant::now() + grace;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                _ => return None,
            }
        }
    }
}

/// A program's input is closed, and it may end by itself; where it does not, it is killed. Either
/// way it is waited for.
impl Drop for Process {
    fn drop(&mut self) {
        self.questions = None;
        if self.end_within(GRACE).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn write(mut input: ChildStdin, questions: &Receiver<String>) {
    for text in questions {
        if input.write_all(text.as_bytes()).is_err() || input.flush().is_err() {
            return;
        }
    }
}

fn read(output: ChildStdout, lines: &SyncSender<Vec<u8>>) {
    let mut output = BufReader::new(output);
    loop {
        let mut line = Vec::new();
        let read = (&mut output)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line);
        if !matches!(read, Ok(1..)) || lines.send(line).is_err() {
            return;
        }
    }
}

fn remember(error: ChildStderr, errors: &Mutex<VecDeque<String>>) {
    let mut error = BufReader::new(error);
    loop {
        let mut line = Vec::new();
        let read = (&mut error)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line);
        if !matches!(read, Ok(1..)) {
            return;
        }
        let mut errors = errors.lock().expect("nobody panics with it");
        errors.push_back(String::from_utf8_lossy(&line).into_owned());
        if errors.len() > ERROR_LINES_MAX {
            errors.pop_front();
        }
    }
}

/// The beginning of a text, on one line.
fn shortened(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(LAST_WORDS_MAX) {
        Some((end, _)) => format!("{} …", &words[..end]),
        None => words,
    }
}
