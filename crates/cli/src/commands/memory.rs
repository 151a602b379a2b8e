//! How much memory the process has held.

/// Most memory resident at once so far, in MiB; `None` where the system does not tell.
///
/// # Source
/// `VmHWM` of `proc_pid_status(5)`.
pub(crate) fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}
