//! Stopwatch: wall time and the processor time of the whole process.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The time that something took.
#[derive(Clone, Copy, Default)]
pub(crate) struct Taken {
    pub(crate) wall: Duration,
    /// Of all threads of the process.
    pub(crate) processor: Duration,
}

impl AddAssign for Taken {
    fn add_assign(&mut self, more: Self) {
        self.wall += more.wall;
        self.processor += more.processor;
    }
}

/// A measurement that has begun.
pub(crate) struct Stopwatch {
    began: Instant,
    used: Duration,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { began: Instant::now(), used: processor() }
    }

    pub(crate) fn taken(&self) -> Taken {
        Taken { wall: self.began.elapsed(), processor: processor() - self.used }
    }
}

fn processor() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("it is not negative")
}
