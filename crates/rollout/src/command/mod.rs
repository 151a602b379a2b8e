//! A grader that is a program: kept alive, asked in batches, with a deadline, restarted when it
//! dies.
//!
//! What it is asked and what it answers is in [`protocol`], how it is kept in [`process`]. A batch
//! that goes wrong leaves its completions without a grade; it never stops a run by itself. Only
//! where batch after batch comes to nothing, it does.

mod process;
mod protocol;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use process::{End, Process};

use crate::{Grade, Grader, GraderError, Item, Ungraded};

/// The longest wait before a program is started again.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// A program that grades.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments; no shell reads them. A program with a `/` in its name is
    /// looked for from the working directory, another one on the `PATH`.
    pub program: Vec<String>,
    /// Where it runs.
    pub working_directory: PathBuf,
    /// How long it may take for a batch.
    pub timeout: Duration,
    /// The most completions it is asked about at once.
    pub batch_size: usize,
    /// Copies of it that work side by side.
    pub workers: usize,
    /// So many batches in a row without a grade, for one of its copies, and it is given up.
    pub max_failures: usize,
}

/// Asks a program.
pub struct CommandGrader {
    name: String,
    command: Command,
    workers: Vec<Worker>,
    asked: usize,
    ungraded: BTreeMap<Ungraded, usize>,
}

/// A copy of the program.
#[derive(Default)]
struct Worker {
    /// `None` before its first batch and after one that went wrong.
    process: Option<Process>,
    /// Batches in a row that went wrong and gave nothing.
    failures: usize,
    /// What went wrong last.
    fault: Option<String>,
}

impl CommandGrader {
    /// Starts the program.
    ///
    /// # Errors
    /// Where it cannot be started.
    ///
    /// # Panics
    /// If the program, the batch or the number of workers is empty.
    pub fn start(name: &str, command: Command) -> Result<Self, GraderError> {
        assert!(!command.program.is_empty(), "a command has a program");
        assert!(command.batch_size > 0 && command.workers > 0, "batches");
        let worker = |_| {
            let process = Process::start(&command).map_err(|reason| GraderError {
                name: name.to_owned(),
                reason,
            })?;
            Ok(Worker {
                process: Some(process),
                ..Worker::default()
            })
        };
        let workers = (0..command.workers).map(worker).collect::<Result<_, _>>()?;
        Ok(Self {
            name: name.to_owned(),
            command,
            workers,
            asked: 0,
            ungraded: BTreeMap::new(),
        })
    }
}

impl Grader for CommandGrader {
    fn name(&self) -> &str {
        &self.name
    }

    /// Batch `i` is always worker `i mod workers`'s, so that the work is divided alike in two runs.
    fn grade(&mut self, items: &[Item]) -> Result<Vec<Grade>, GraderError> {
        let batches: Vec<&[Item]> = items.chunks(self.command.batch_size).collect();
        let (command, count) = (&self.command, self.workers.len());
        let graded: Vec<Result<Vec<Vec<Grade>>, String>> = thread::scope(|scope| {
            let batches = &batches;
            let handles: Vec<_> = (self.workers.iter_mut().enumerate())
                .map(|(first, worker)| {
                    let own = move || batches.iter().skip(first).step_by(count);
                    scope.spawn(move || own().map(|batch| worker.grade(command, batch)).collect())
                })
                .collect();
            let join = |handle: thread::ScopedJoinHandle<_>| handle.join().expect("no panics");
            handles.into_iter().map(join).collect()
        });
        let graded: Result<Vec<_>, String> = graded.into_iter().collect();
        let graded = graded.map_err(|reason| GraderError {
            name: self.name.clone(),
            reason,
        })?;
        let mut by_worker: Vec<_> = graded.into_iter().map(Vec::into_iter).collect();
        let grades: Vec<Grade> = (0..batches.len())
            .flat_map(|index| by_worker[index % count].next().expect("a batch is graded"))
            .collect();
        self.asked += grades.len();
        for reason in grades.iter().filter_map(|grade| grade.err()) {
            *self.ungraded.entry(reason).or_default() += 1;
        }
        Ok(grades)
    }

    fn faults(&self) -> Option<String> {
        let all: usize = self.ungraded.values().sum();
        let kinds = self.ungraded.iter();
        let kinds: Vec<String> = kinds
            .map(|(reason, count)| format!("{count} {}", reason.name()))
            .collect();
        let (asked, kinds) = (self.asked, kinds.join(", "));
        let counted = format!("{all} of {asked} completions ungraded ({kinds})");
        let last = self.workers.iter().find_map(|w| w.fault.as_ref());
        let last = last.map_or(String::new(), |last| format!("; at last: {last}"));
        (all > 0).then(|| counted + &last)
    }
}

impl Worker {
    /// The grades of a batch.
    ///
    /// # Errors
    /// Where this was one batch without a grade too many.
    fn grade(&mut self, command: &Command, batch: &[Item]) -> Result<Vec<Grade>, String> {
        let mut process = self.process.take().map_or_else(
            || {
                thread::sleep(backoff(self.failures));
                Process::start(command)
            },
            Ok,
        );
        let (answers, fault) = match &mut process {
            Err(reason) => (vec![None; batch.len()], Some((End::Died, reason.clone()))),
            Ok(process) => process.ask(batch, command.timeout),
        };
        let missing = fault
            .as_ref()
            .map_or(Ungraded::Null, |(end, _)| end.ungraded());
        let is_served = answers
            .iter()
            .any(|answer| matches!(answer, Some(Ok(_) | Err(Ungraded::Null))));
        if fault.is_none() {
            self.process = process.ok();
        }
        if is_served {
            self.failures = 0;
        } else {
            self.failures += 1;
        }
        let reason = match fault {
            Some((_, reason)) => Some(reason),
            None if is_served => None,
            None => Some("no reward of its answers is a finite number or null".to_owned()),
        };
        self.fault = reason.or_else(|| self.fault.take());
        if self.failures >= command.max_failures {
            let (failures, reason) = (self.failures, self.fault.clone().unwrap_or_default());
            return Err(format!(
                "{failures} batches in a row without a grade; {reason}"
            ));
        }
        let grade = |answer: Option<Grade>| answer.unwrap_or(Err(missing));
        Ok(answers.into_iter().map(grade).collect())
    }
}

/// How long to wait before a program is started again: 0.1 s, and twice as long after each failure.
fn backoff(failures: usize) -> Duration {
    let exponent = u32::try_from(failures.min(10)).unwrap_or(0);
    (Duration::from_millis(50) * 2u32.pow(exponent)).min(BACKOFF_MAX)
}
