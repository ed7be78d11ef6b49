//! Training: the loop, optimizers, schedules, and what is kept of a run.
//!
//! A [`Task`] comes in as graphs; a [`Session`] holds its network on a device; [`fit`] shows it the data; an
//! [`Observer`] hears how it goes.

mod diagnosis;
mod fit;
pub mod optimizers;
mod precision;
mod range_test;
mod run_folder;
mod schedule;
mod search;
mod session;
mod settings;
mod task;

pub use diagnosis::Culprit;
pub use fit::{Best, EpochReport, Observer, Plan, Progress, Quiet, StepOf, fit};
pub use optimizers::{Adam, LrScale, Optimizer, RmsProp, Sgd};
pub use precision::Precision;
pub use range_test::{RangeResult, RangeTest, Tried};
pub use run_folder::{Kept, Lock, RunFolder};
pub use schedule::Schedule;
pub use search::{Choice, Halving, Job, Options, Scale, Space, Trial};
pub use session::{MemoryOptions, Session, StepResult};
pub use settings::Settings;
pub use task::{Summary, Task};
