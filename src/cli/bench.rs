use clap::{Args, ValueEnum};

use super::Common;
use crate::bench::{self, Measurement, NAMES, StepTime, Suite};
use crate::device::Tuning;
use crate::error::{Error, Result};

#[derive(Args)]
pub(super) struct Bench {
    /// What to measure, for instance matmul-512 or W1; without names, everything.
    names: Vec<String>,
    /// Measure only this suite.
    #[arg(long, value_enum)]
    suite: Option<SuiteName>,
    /// First measure, on a GPU, every kernel of what is to be measured, and remember the fastest.
    #[arg(long)]
    tune: bool,
    /// How training steps keep intermediate values: f32, or f16 on GPUs that can.
    #[arg(long, value_name = "f32|f16", default_value = "f32")]
    precision: String,
    /// Show where the time of W1, W2 and W3 goes, step by step, instead of measuring the whole.
    #[arg(long)]
    profile: bool,
}

/// Steps shown by name in a profile.
const LONGEST: usize = 25;

#[derive(Clone, Copy, ValueEnum)]
enum SuiteName {
    Peak,
    Kernel,
    Training,
    Inference,
}

impl From<SuiteName> for Suite {
    fn from(name: SuiteName) -> Self {
        match name {
            SuiteName::Peak => Self::Peak,
            SuiteName::Kernel => Self::Kernel,
            SuiteName::Training => Self::Training,
            SuiteName::Inference => Self::Inference,
        }
    }
}

impl Bench {
    pub fn run(&self, common: &Common) -> Result<()> {
        if let Some(unknown) = self.names.iter().find(|n| NAMES.iter().all(|(_, known)| known != n)) {
            let known: Vec<&str> = NAMES.iter().map(|&(_, n)| n).collect();
            return Err(Error::config(format!("there is no benchmark \"{unknown}\": there are {}", known.join(", "))));
        }
        let device = common.open_device(&common.device)?;
        if self.tune {
            device.tune(Tuning::Full);
        }
        common.say(format!("device {}", device.name()));
        let bench = bench::Bench::new(&device, self.precision.parse()?)?;
        let suite = self.suite.map(Suite::from);
        let wanted = NAMES.iter().filter(|(s, n)| {
            suite.is_none_or(|wanted| *s == wanted) && (self.names.is_empty() || self.names.iter().any(|w| w == n))
        });
        if self.profile {
            return wanted
                .filter(|(suite, _)| matches!(suite, Suite::Training | Suite::Inference))
                .try_for_each(|&(suite, name)| show_profile(&bench, suite, name, common));
        }
        if !common.json {
            super::print(format!(
                "{:<10} {:<20} {:>10} {:>9} {:>8} {:>10} {:>9} {:>8} {:>10} {:>10} {:>10}",
                "suite",
                "name",
                "ms",
                "GFLOP/s",
                "of peak",
                "images/s",
                "GB/s",
                "of peak",
                "memory",
                "dispatches",
                "of least"
            ))?;
        }
        for &(suite, name) in wanted {
            let measurement = bench.measure(suite, name)?;
            super::print(if common.json { super::json(&measurement)? } else { row(&measurement) })?;
        }
        Ok(())
    }
}

fn show_profile(bench: &bench::Bench, suite: Suite, name: &str, common: &Common) -> Result<()> {
    let profile = bench.profile(name, suite == Suite::Training)?;
    if common.json {
        return super::print(super::json(&profile)?);
    }
    let kind = if suite == Suite::Training { "training step" } else { "forward pass" };
    super::print(format!(
        "{name}, {kind}: {:.3} ms in {} steps\n{:<20} {:<24} {:<22} {:<18} {:>8} {:>6} {:>9} {:>7} {:>12}",
        profile.ms,
        profile.steps.len(),
        "op",
        "layer",
        "kernel",
        "result",
        "ms",
        "",
        "GFLOP/s",
        "GB/s",
        "of roofline"
    ))?;
    let line = |name: [&str; 4], ms: f64, rest: String| {
        let [op, layer, kernel, shape] = name;
        let share = 100.0 * ms / profile.ms;
        super::print(format!("{op:<20} {layer:<24} {kernel:<22} {shape:<18} {ms:>8.3} {share:>4.0} % {rest}"))
    };
    let (longest, rest) = profile.steps.split_at(LONGEST.min(profile.steps.len()));
    for StepTime { op, layer, kernel, shape, ms, gflops, gbytes_per_s, share_of_roofline } in longest {
        let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
        let share = 100.0 * share_of_roofline;
        line([op, layer, kernel, &shape.join("x")], *ms, format!("{gflops:>9.1} {gbytes_per_s:>7.1} {share:>10.0} %"))?;
    }
    if !rest.is_empty() {
        line([&format!("{} others", rest.len()), "", "", ""], rest.iter().map(|s| s.ms).sum(), String::new())?;
    }
    super::print("")
}

fn row(m: &Measurement) -> String {
    let number = |x: Option<f64>| x.map_or(String::new(), |x| format!("{x:.1}"));
    let percent = |share: Option<f64>| share.map_or(String::new(), |s| format!("{:.0} %", 100.0 * s));
    let (share, of_bandwidth) = (percent(m.share_of_peak), percent(m.share_of_bandwidth));
    let memory = m.peak_device_bytes.map_or(String::new(), |b| format!("{:.1} MiB", b as f64 / f64::from(1 << 20)));
    let dispatches = m.dispatches.map_or(String::new(), |d| d.to_string());
    let traffic = m.bytes_moved.zip(m.bytes_least);
    let traffic = traffic.map_or(String::new(), |(moved, least)| format!("{:.2}", moved as f64 / least as f64));
    let (suite, name) = (m.suite, &m.name);
    format!(
        "{suite:<10} {name:<20} {:>10.3} {:>9} {share:>8} {:>10} {:>9} {of_bandwidth:>8} {memory:>10} {dispatches:>10} {traffic:>10}",
        m.ms,
        number(m.gflops),
        number(m.images_per_s),
        number(m.gbytes_per_s)
    )
}
