//! Whether io_uring can be used here, and if not, why.

use std::fs;

use io_uring::IoUring;
use io_uring::opcode;
use rustix::process::{Resource, getrlimit};

/// What glommio needs to be able to lock, bytes.
const MEMLOCK_NEEDED: u64 = 512 * 1024;

/// Sets up a ring and passes one operation through it.
///
/// # Errors
///
/// Why io_uring cannot be used, for a person: the kernel's refusal and the setting that is most likely behind it.
pub fn probe_io_uring() -> Result<(), String> {
    let tried = IoUring::new(8).and_then(|mut ring| {
        let nothing = opcode::Nop::new().build();
        // SAFETY: a no-op names no memory, so nothing has to outlive its completion.
        #[expect(unsafe_code, reason = "the submission queue of the io-uring crate is pushed to unsafely")]
        let pushed = unsafe { ring.submission().push(&nothing) };
        pushed.map_err(std::io::Error::other)?;
        ring.submit_and_wait(1)?;
        let complete = ring.completion().next();
        complete.map(drop).ok_or_else(|| std::io::Error::other("no completion came"))
    });
    match tried {
        Ok(()) => Ok(()),
        Err(error) => Err(format!("io_uring cannot be used ({error}): {}", likely_cause())),
    }
}

fn likely_cause() -> String {
    match fs::read_to_string("/proc/sys/kernel/io_uring_disabled").as_deref().map(str::trim) {
        Ok("2") => return "kernel.io_uring_disabled is 2 (off for everybody)".to_owned(),
        Ok("1") => return "kernel.io_uring_disabled is 1 (off for unprivileged processes)".to_owned(),
        _ => {}
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2")) {
        return "a seccomp filter is on (Docker's default profile forbids io_uring)".to_owned();
    }
    if let Some(limit) = getrlimit(Resource::Memlock).current
        && limit < MEMLOCK_NEEDED
    {
        return format!(
            "the limit on locked memory is {limit} bytes, {MEMLOCK_NEEDED} are needed (ulimit -l)"
        );
    }
    "the kernel may be too old (5.8 or later is needed)".to_owned()
}
