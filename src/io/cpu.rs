//! Which CPUs this process may use, and pinning a thread to one.

use std::fs;

use rustix::process::getpid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The ids of the CPUs in the affinity mask, as many as the cgroup's CPU quota is worth (rounded up): ascending from one
/// that the process's id chooses, and then from the first. Programs side by side that need fewer than there are would
/// else share the first and leave the others idle.
#[must_use]
pub fn available_cpus() -> Vec<usize> {
    let mask = sched_getaffinity(None).ok();
    let mut cpus: Vec<usize> = match &mask {
        Some(set) => (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect(),
        None => Vec::new(),
    };
    if cpus.is_empty() {
        cpus = (0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get)).collect();
    }
    let first = usize::try_from(getpid().as_raw_pid()).unwrap_or(0) % cpus.len();
    cpus.rotate_left(first);
    if let Some(quota) = cgroup_quota() {
        cpus.truncate(quota.max(1));
    }
    cpus
}

/// Pins the calling thread to one CPU.
///
/// # Errors
///
/// If the kernel refuses.
pub fn pin_to(cpu: usize) -> std::io::Result<()> {
    let mut set = CpuSet::new();
    if cpu >= CpuSet::MAX_CPU {
        return Err(std::io::Error::other(format!("the kernel's mask has no CPU {cpu}")));
    }
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

/// Pins the calling thread where a CPU is named; a refusal is a warning, not an error.
pub(super) fn pin_or_warn(cpu: Option<usize>) {
    if let Some(cpu) = cpu
        && let Err(error) = pin_to(cpu)
    {
        tracing::warn!(cpu, %error, "this shard runs unpinned: pinning was refused");
    }
}

/// Lets the calling thread run where the process's first thread may, which is never pinned: a thread that a pinned one
/// starts is pinned as well. A refusal costs speed only.
pub(super) fn unpin() {
    let freed = sched_getaffinity(Some(getpid())).and_then(|set| sched_setaffinity(None, &set));
    if let Err(error) = freed {
        tracing::debug!(%error, "a thread beside a shard stays on the shard's CPU");
    }
}

/// How many CPUs the cgroups of this process allow, rounded up; none where no quota is set.
fn cgroup_quota() -> Option<usize> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    membership.lines().filter_map(quota_of_line).min()
}

/// The least quota on the way up from one line of `/proc/self/cgroup` (`0::/path` or `3:cpu,cpuacct:/path`).
fn quota_of_line(line: &str) -> Option<usize> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let unified = controllers.is_empty();
    if !unified && !controllers.split(',').any(|name| name == "cpu") {
        return None;
    }
    let roots: &[&str] = if unified {
        &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
    } else {
        &["/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu"]
    };
    let levels = std::iter::successors(Some(path), |path| {
        let (parent, _) = path.trim_end_matches('/').rsplit_once('/')?;
        Some(parent)
    });
    let quotas = levels.flat_map(|level| roots.iter().filter_map(move |root| quota_of(root, level, unified)));
    quotas.min()
}

fn quota_of(root: &str, level: &str, unified: bool) -> Option<usize> {
    let read = |file: &str| fs::read_to_string(format!("{root}{level}/{file}")).ok();
    if unified {
        return parse_cpu_max(&read("cpu.max")?);
    }
    let quota = read("cpu.cfs_quota_us")?;
    let period = read("cpu.cfs_period_us")?;
    parse_cpu_max(&format!("{} {}", quota.trim(), period.trim()))
}

/// How many CPUs `"150000 100000"` is worth (2); none for `"max 100000"` and for a negative quota.
fn parse_cpu_max(text: &str) -> Option<usize> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (usize, usize) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0).then(|| quota.div_ceil(period))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas() {
        for (text, expect) in [
            ("max 100000", None),
            ("150000 100000\n", Some(2)),
            ("50000 100000", Some(1)),
            ("-1 100000", None),
        ] {
            assert_eq!(parse_cpu_max(text), expect, "{text}");
        }
    }

    #[test]
    fn some_cpu_is_available_and_can_be_pinned_to() {
        let cpus = available_cpus();
        assert!(!cpus.is_empty());
        std::thread::spawn(move || pin_to(cpus[0]).expect("an available CPU can be pinned to"))
            .join()
            .unwrap();
        assert!(pin_to(usize::MAX).is_err());
    }
}
