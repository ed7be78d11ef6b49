use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Common;

/// A bar on a terminal; elsewhere nothing, so that logs stay readable.
pub(super) fn bar(common: &Common, len: u64, what: &str) -> ProgressBar {
    let visible = !common.quiet && std::io::stderr().is_terminal();
    let target = if visible { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
    let template = "{prefix:>14} {bar:24} {pos}/{len} {msg} {eta}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(len), target).with_style(style).with_prefix(what.to_owned());
    if visible {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    bar
}
