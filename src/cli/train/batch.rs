use std::str::FromStr;

use crate::device::Device;
use crate::error::{Error, Result};
use crate::tasks::RunTask;
use crate::train::{Kept, Session};

/// What `--batch-size` says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum BatchSize {
    /// The largest that fits.
    Auto,
    Fixed(usize),
}

impl FromStr for BatchSize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.parse::<u32>()) {
            ("auto", _) => Ok(Self::Auto),
            (_, Ok(n)) if n > 0 => Ok(Self::Fixed(n as usize)),
            _ => Err("give a number above 0, or auto"),
        }
    }
}

/// More pictures in a step take longer without teaching more, and fewer steps than this an epoch teach little.
const MOST: usize = 1024;
const LEAST_STEPS: usize = 10;

/// The largest power of two so that a step of as many pictures fits the memory: within `--memory-limit`, else half of what is
/// free where the device shares the machine's memory, else what can be had.
///
/// Errors: if not even one picture fits.
pub(super) fn largest<T: RunTask>(kept: &Kept, device: &Device, pictures: usize) -> Result<usize> {
    let s = &kept.settings;
    let limit = s.memory_limit.or_else(|| device.free_memory().map(|bytes| bytes / 2));
    let most = (pictures / LEAST_STEPS).clamp(1, MOST);
    let mut n = 1 << most.ilog2();
    loop {
        match expect_room::<T>(kept, device, n, limit) {
            Err(Error::Memory(_)) if n > 1 => n /= 2,
            outcome => return outcome.map(|()| n),
        }
    }
}

fn expect_room<T: RunTask>(kept: &Kept, device: &Device, n: usize, limit: Option<u64>) -> Result<()> {
    let mut session: Session<T> = super::bare_session(kept, device, None)?;
    let needed = session.needed_bytes(n)?;
    match limit {
        Some(limit) if needed > limit => {
            let [needed, limit] = [needed, limit].map(|bytes| bytes as f64 / f64::from(1 << 20));
            let message =
                format!("a step of {n} needs {needed:.1} MiB, but there are {limit:.1}: use a smaller network");
            Err(Error::memory(message))
        }
        Some(_) => Ok(()),
        // Such a device tells only by giving.
        None => session.prepare(n, 0).and_then(|_| match session.part() < n {
            true => Err(Error::memory("a step does not fit the device")),
            false => Ok(()),
        }),
    }
}
