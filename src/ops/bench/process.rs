//! What this process has used, as the kernel counts it.

use std::fs;

/// How many of the kernel's ticks make a second in what it tells processes: 100 on every architecture of Linux.
const TICKS_PER_SECOND: u64 = 100;

/// The time that all threads have spent on a CPU so far, microseconds; 0 where the kernel does not tell.
#[must_use]
pub fn cpu_us() -> u64 {
    fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu_ticks(&stat)).unwrap_or(0)
        * (1_000_000 / TICKS_PER_SECOND)
}

/// The ticks in user and in system mode of a line of `/proc/PID/stat`.
fn cpu_ticks(stat: &str) -> Option<u64> {
    // The second field is the program's name, in which anything may be.
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// From now on [`memory_peak_bytes`] tells the most memory since now. Where the kernel does not allow that, it goes on telling
/// the most since the process began.
pub fn forget_memory_peak() {
    // 5 stands for the peak of the resident set, see proc(5).
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// The most memory that the process has had resident, bytes; 0 where the kernel does not tell.
#[must_use]
pub fn memory_peak_bytes() -> u64 {
    fs::read_to_string("/proc/self/status").ok().and_then(|status| peak_kib(&status)).unwrap_or(0) * 1024
}

fn peak_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_words_are_understood() {
        let stat = "7 (a ) 1 2 b) S 1 7 7 0 -1 4194304 100 0 0 0 250 31 0 0 20 0 1 0 5 0";
        assert_eq!(cpu_ticks(stat), Some(281));
        assert_eq!(cpu_ticks("7 (a)"), None);
        assert_eq!(peak_kib("Name:\ta\nVmHWM:\t   2048 kB\n"), Some(2048));
        assert_eq!(peak_kib("Name:\ta\n"), None);
        assert!(memory_peak_bytes() > 0, "the kernel tells it");
    }
}
