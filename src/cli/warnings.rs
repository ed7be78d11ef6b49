use log::{LevelFilter, Log, Metadata, Record};

/// What the library warns of is for the user; what other crates say is not.
struct Warnings;

impl Log for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("ocellus")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            super::tell(format!("warning: {}", record.args()));
        }
    }

    fn flush(&self) {}
}

/// Has warnings printed on stderr, unless they are not wanted.
pub(super) fn warn_on_stderr(quiet: bool) {
    log::set_max_level(if quiet { LevelFilter::Off } else { LevelFilter::Warn });
    // If there is one already, whoever called this library has set it.
    let _ = log::set_logger(&Warnings);
}
