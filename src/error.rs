//! The one error type: every message says what, where and what to do.

use std::path::{Path, PathBuf};

/// Result with [`Error`], unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong. The display form is the message a user reads: lower case, no final stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Shapes or attributes of a network do not fit together.
    #[error("{at}: {message}")]
    Shape {
        /// The op or layer, for instance `conv2d "stem"`.
        at: String,
        /// What came, what was expected, and the remedy if there is one.
        message: String,
    },
    /// No adapter, a lost device, a limit exceeded.
    #[error("{0}")]
    Device(String),
    /// Something does not fit the device's memory or the limits of its buffers.
    #[error("{0}")]
    Memory(String),
    /// A file or folder could not be read or written.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, `create`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file's content is not what it should be.
    #[error("{}: {message}", path.display())]
    Format {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, where, and what to do.
        message: String,
    },
    /// A setting is wrong or settings contradict each other.
    #[error("{0}")]
    Config(String),
    /// Training diverged.
    #[error("{message}")]
    Diverged {
        /// The step whose loss is no number any more, or huge; counted from 1.
        step: u64,
        /// What happened, and what to do.
        message: String,
    },
    /// The user pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// A shape error at an op or layer.
    pub fn shape(at: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Shape { at: at.into(), message: message.into() }
    }

    /// An input/output error on `path`; `action` is a verb such as `read`.
    pub fn io(action: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { action, path: path.as_ref().to_owned(), source }
    }

    /// A malformed file.
    pub fn format(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Self::Format { path: path.as_ref().to_owned(), message: message.into() }
    }

    /// A wrong setting.
    pub fn config(message: impl Into<String>) -> Self {
        Self::Config(message.into())
    }

    /// Too little memory.
    pub fn memory(message: impl Into<String>) -> Self {
        Self::Memory(message.into())
    }

    /// A device problem.
    pub fn device(message: impl Into<String>) -> Self {
        Self::Device(message.into())
    }
}
