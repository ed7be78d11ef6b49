use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::adapter::AdapterSummary;
use super::certify::{Witness, draw, values};
use super::choices::{Choices, Known, key};
use super::context::Gpu;
use super::lone::{lone_graph_in, lone_program};
use crate::error::{Error, Result};
use crate::graph::{self, Graph, Kernel, Node, Op, settle, views};
use crate::tensor::{DType, Meta};

/// What programs may spend on measuring kernels when they are compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tuning {
    /// Nothing: what is known decides, else the order in which an op lists its kernels.
    #[default]
    Off,
    /// That much time in all, comparing with the CPU included, on ops met for the first time, the dearest first.
    Within(Duration),
    /// As much as it takes, also for ops that were met before but not measured.
    Full,
}

/// Time for comparing the kernels of a program with the CPU, if nothing else is said.
const CERTIFYING: Duration = Duration::from_secs(10);
/// An op is measured if it has this share of a program's operations.
const LEAST_SHARE: f64 = 0.02;
/// Ops to compare from which on a second device pays.
const SHARED: usize = 4;
/// Elements of an op's inputs above which it is certified on a small batch.
const SMALL: usize = 1 << 16;
/// Time over which runs of a kernel are averaged.
const MEASURED: Duration = Duration::from_millis(5);

/// Decides which kernel an op takes on an adapter: by what was measured, but never one that failed its comparison with
/// the CPU.
pub(super) struct Tuner {
    known: Choices,
    /// Those of an earlier run, which go before.
    adopted: BTreeMap<String, String>,
    /// Those that programs of this process took.
    used: BTreeMap<String, Known>,
    folder: Option<PathBuf>,
    tuning: Tuning,
    comparing: Duration,
}

/// An op of a program, with its kernels.
struct Candidate {
    key: String,
    op: Arc<dyn Op>,
    inputs: Vec<Meta>,
    result: DType,
    kernels: Vec<Kernel>,
    flops: u64,
    /// Whether nothing was known of it.
    new: bool,
    /// What its comparison with the CPU took: nearly all of it compiling.
    compared_in: Duration,
}

impl Tuner {
    pub fn new(summary: &AdapterSummary) -> Self {
        Self {
            known: Choices::new(summary),
            adopted: BTreeMap::new(),
            used: BTreeMap::new(),
            folder: None,
            tuning: Tuning::Off,
            comparing: CERTIFYING,
        }
    }

    /// The number of the kernel to take, of those that have not failed: without better knowledge, the first.
    fn choose(&self, key: &str, kernels: &[Kernel]) -> Option<usize> {
        let known = self.known.kernels.get(key);
        let sound = |kernel: &Kernel| !known.is_some_and(|k| k.failed.contains_key(&kernel.variant));
        let position = |variant: &String| kernels.iter().position(|k| k.variant == *variant && sound(k));
        let adopted = self.adopted.get(key).and_then(position);
        let best = known.and_then(|k| position(&k.variant));
        adopted.or(best).or_else(|| kernels.iter().position(sound))
    }
}

impl Gpu {
    fn tuner(&self) -> MutexGuard<'_, Tuner> {
        self.tuner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What programs compiled from now on may spend on measuring kernels.
    pub fn tune(&self, tuning: Tuning) {
        self.tuner().tuning = tuning;
    }

    /// How long programs compiled from now on may take to compare their kernels with the CPU. What is left over is used as
    /// it is, and compared by the next program.
    pub fn compare_within(&self, time: Duration) {
        self.tuner().comparing = time;
    }

    /// Keeps what is learned about kernels in a file in `folder`, and takes over what it holds.
    pub fn remember_in(&self, folder: PathBuf) {
        let mut tuner = self.tuner();
        let stored = tuner.known.load(&folder);
        tuner.known.kernels.extend(stored);
        tuner.folder = Some(folder);
    }

    /// The kernels that programs have taken so far.
    pub fn choices(&self) -> Choices {
        let tuner = self.tuner();
        Choices { kernels: tuner.used.clone(), ..tuner.known.clone() }
    }

    /// Takes the kernels of an earlier run wherever possible, so that results are the same to the last bit. `false`, and
    /// nothing is taken, if that ran on another adapter or driver.
    pub fn adopt(&self, choices: &Choices) -> bool {
        let mut tuner = self.tuner();
        let same = tuner.known.same_adapter(choices);
        if same {
            tuner.adopted.extend(choices.kernels.iter().map(|(key, known)| (key.clone(), known.variant.clone())));
        }
        same
    }

    /// The number of the kernel that an op takes.
    pub(super) fn choose(&self, node: &Node, kernels: &[Kernel]) -> usize {
        match node.op() {
            Some(op) => self.tuner().choose(&key(op.as_ref(), kernels), kernels).unwrap_or(0),
            None => 0,
        }
    }

    /// Decides which kernels the ops of `graph` take: measures as far as allowed, compares those chosen with the CPU,
    /// and remembers the outcome.
    ///
    /// Errors: if an op has no kernel that agrees with the CPU.
    pub fn prepare(self: &Arc<Self>, graph: &Graph) -> Result<()> {
        let mut candidates = self.candidates(&settle(graph)?);
        candidates.sort_by_key(|c| std::cmp::Reverse(c.flops));
        let outcome = self.learn(&mut candidates);
        let mut tuner = self.tuner();
        for Candidate { key, kernels, .. } in &candidates {
            let Some(number) = tuner.choose(key, kernels) else { continue };
            let known = tuner.known.kernels.get(key).cloned().unwrap_or_default();
            tuner.used.insert(key.clone(), Known { variant: kernels[number].variant.clone(), ..known });
        }
        if let (true, Some(folder)) = (outcome.as_ref().map_or(true, |&news| news), &tuner.folder) {
            tuner.known.save(folder);
        }
        outcome.map(|_| ())
    }

    /// The ops of a graph that differ in more than the batch size.
    fn candidates(&self, graph: &Graph) -> Vec<Candidate> {
        let mut found: BTreeMap<String, Candidate> = BTreeMap::new();
        let views = views(graph);
        for (_, node) in graph.iter().filter(|(value, _)| !views[value.index()]) {
            let Some(op) = node.op().filter(|op| !op.is_alias()) else { continue };
            let metas: Vec<&Meta> = node.inputs.iter().map(|&v| graph.meta(v)).collect();
            let kernels = graph::kernels(op.as_ref(), &metas, &node.meta, self.capabilities());
            let computed: Vec<Meta> = metas.iter().map(|meta| meta.computed()).collect();
            let flops = op.flops(&computed.iter().collect::<Vec<_>>(), &node.meta);
            let key = key(op.as_ref(), &kernels);
            let inputs = metas.into_iter().cloned().collect();
            let candidate = || Candidate {
                new: !self.tuner().known.kernels.contains_key(&key),
                key: key.clone(),
                op: op.clone(),
                inputs,
                result: node.meta.dtype,
                kernels,
                flops: 0,
                compared_in: Duration::ZERO,
            };
            found.entry(key.clone()).or_insert_with(candidate).flops += flops;
        }
        found.into_values().collect()
    }

    /// Compares the kernels that come first with the CPU, measures what the tuning in force still allows, and compares those
    /// that turned out faster. Whether anything is new.
    fn learn(self: &Arc<Self>, candidates: &mut [Candidate]) -> Result<bool> {
        let start = Instant::now();
        let mut news = self.certify_all(candidates)?;
        let compared = start.elapsed();
        let tuning = self.tuner().tuning;
        if self.measure_all(candidates, tuning, start)? {
            news = true;
            self.certify_all(candidates)?;
        }
        let total = start.elapsed();
        log::debug!("kernels of {} ops: compared in {compared:.2?}, chosen in {total:.2?}", candidates.len());
        if let Tuning::Within(budget) = tuning {
            self.tune(Tuning::Within(budget.saturating_sub(total)));
        }
        Ok(news)
    }

    /// Measures what the tuning allows that began at `start`, and writes down what is fastest. Whether anything was measured.
    fn measure_all(self: &Arc<Self>, candidates: &[Candidate], tuning: Tuning, start: Instant) -> Result<bool> {
        let total: u64 = candidates.iter().map(|c| c.flops).sum();
        let matters = |c: &&Candidate| c.kernels.len() > 1 && c.flops as f64 >= LEAST_SHARE * total.max(1) as f64;
        let mut news = false;
        for candidate in candidates.iter().filter(matters) {
            let mut known = self.known(candidate);
            let left = match tuning {
                Tuning::Off => break,
                Tuning::Within(budget) if candidate.new => budget.saturating_sub(start.elapsed()),
                Tuning::Full if known.measured_ms.is_empty() => Duration::MAX,
                Tuning::Within(_) | Tuning::Full => continue,
            };
            known.measured_ms = candidate.measure(self, &known, left)?;
            if let Some((fastest, _)) = known.measured_ms.iter().min_by(|a, b| a.1.total_cmp(b.1)) {
                known.variant = fastest.clone();
                self.tuner().known.kernels.insert(candidate.key.clone(), known);
                news = true;
            }
        }
        Ok(news)
    }

    fn known(&self, candidate: &Candidate) -> Known {
        self.tuner().known.kernels.get(&candidate.key).cloned().unwrap_or_else(|| candidate.unknown())
    }

    /// Compares the kernels that will be taken with the CPU, replacing those that fail. Whether anything is new.
    ///
    /// A software driver compiles a kernel when it first runs, one after the other on a device: there a second device takes
    /// every other op, and the first finds in the driver's own cache what that one compiled.
    fn certify_all(self: &Arc<Self>, candidates: &mut [Candidate]) -> Result<bool> {
        let deadline = Instant::now() + self.tuner().comparing;
        let due = |candidate: &&mut Candidate| !self.is_certain(candidate);
        let due: Vec<&mut Candidate> = candidates.iter_mut().filter(due).collect();
        let second = match due.len() {
            SHARED.. if self.summary().software => self.reopen().ok(),
            _ => None,
        };
        let queue = Mutex::new(due.into_iter());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = |gpu: &Arc<Self>| -> Result<bool> {
            let mut news = false;
            while let Some(candidate) = next() {
                news |= self.certify(candidate, gpu, deadline)?;
            }
            Ok(news)
        };
        std::thread::scope(|scope| {
            let helper = second.as_ref().map(|gpu| scope.spawn(|| work(gpu)));
            let here = work(self);
            let there =
                helper.map_or(Ok(false), |helper| helper.join().unwrap_or_else(|e| std::panic::resume_unwind(e)));
            Ok(here? | there?)
        })
    }

    /// Whether the kernel that comes first has agreed with the CPU.
    fn is_certain(&self, candidate: &Candidate) -> bool {
        let tuner = self.tuner();
        let known = tuner.known.kernels.get(&candidate.key);
        let chosen = tuner.choose(&candidate.key, &candidate.kernels);
        chosen.zip(known).is_some_and(|(number, known)| known.certified.contains(&candidate.kernels[number].variant))
    }

    /// Compares an op's kernels on `gpu` with the CPU until one agrees, or time is up. Whether anything is new.
    fn certify(&self, candidate: &mut Candidate, gpu: &Arc<Self>, deadline: Instant) -> Result<bool> {
        let began = Instant::now();
        let (mut witness, mut news) = (None, false);
        loop {
            let mut known = self.known(candidate);
            let number = self.tuner().choose(&candidate.key, &candidate.kernels);
            let number = match number {
                Some(number) => number,
                None if news => return Err(self.refusal(candidate, &known)),
                None => {
                    // An adapter is not refused from memory alone: what was wrong may have been mended.
                    known.failed.clear();
                    self.tuner().known.kernels.insert(candidate.key.clone(), known);
                    news = true;
                    continue;
                }
            };
            let variant = candidate.kernels[number].variant.clone();
            if known.certified.contains(&variant) || Instant::now() >= deadline {
                break;
            }
            let witness = match &mut witness {
                Some(witness) => witness,
                none => none.insert(Witness::new(&candidate.op, &candidate.small_inputs(self), candidate.result)?),
            };
            match witness.objection(gpu, number)? {
                Some(objection) => drop(known.failed.insert(variant, objection)),
                None => drop(known.certified.insert(variant)),
            }
            self.tuner().known.kernels.insert(candidate.key.clone(), known);
            news = true;
        }
        candidate.compared_in = candidate.compared_in.max(began.elapsed());
        Ok(news)
    }

    fn refusal(&self, candidate: &Candidate, known: &Known) -> Error {
        let failed: Vec<String> = known.failed.iter().map(|(v, what)| format!("  kernel {v}: {what}")).collect();
        self.computes_wrongly(&format!(
            "{} wrongly, in every kernel there is for it; use --device cpu, and please report:\n  {:?}\n  inputs {}\n{}",
            candidate.op.name(),
            candidate.op,
            describe(&candidate.inputs),
            failed.join("\n")
        ))
    }

    /// The error of an adapter that cannot be used.
    pub(super) fn computes_wrongly(&self, what: &str) -> Error {
        let AdapterSummary { name, backend, driver, .. } = self.summary();
        let version = env!("CARGO_PKG_VERSION");
        Error::device(format!(
            "this adapter computes {what}\n  ocellus {version} on {name} ({backend}), driver {driver}"
        ))
    }

    /// Whether the one kernel known under `key` agreed with the CPU.
    pub(super) fn is_certified(&self, key: &str) -> bool {
        self.tuner().known.kernels.get(key).is_some_and(|known| known.certified.contains(&known.variant))
    }

    /// Remembers that it did.
    pub(super) fn certified(&self, key: String, mut known: Known) {
        known.certified.insert(known.variant.clone());
        let mut tuner = self.tuner();
        tuner.known.kernels.insert(key, known);
        if let Some(folder) = &tuner.folder {
            tuner.known.save(folder);
        }
    }
}

impl Candidate {
    fn unknown(&self) -> Known {
        let variant = self.kernels[0].variant.clone();
        Known { inputs: describe(&self.inputs), variant, ..Known::default() }
    }

    /// Milliseconds of each variant that has not failed, as far as `left` allows; of none, if that is not two.
    fn measure(&self, gpu: &Arc<Gpu>, known: &Known, left: Duration) -> Result<BTreeMap<String, f64>> {
        let start = Instant::now();
        let graph = lone_graph_in(&self.op, &self.inputs, self.result)?;
        let inputs = draw(&self.op, &self.inputs, values);
        let mut times = BTreeMap::new();
        let mut dearest = self.compared_in;
        for (number, kernel) in self.kernels.iter().enumerate() {
            let began = start.elapsed();
            if known.failed.contains_key(&kernel.variant) || began.saturating_add(dearest) > left {
                continue;
            }
            // A kernel that the driver refuses is no candidate.
            let Ok(mut program) = lone_program(gpu, &graph, number) else { continue };
            for (i, tensor) in inputs.iter().enumerate() {
                program.feed(&format!("x{i}"), tensor.bytes())?;
            }
            // The first run compiles.
            program.repeat(1, &[])?;
            let mut time = |runs: u32| -> Result<Duration> {
                let start = Instant::now();
                program.repeat(runs as usize, &[])?;
                Ok(start.elapsed() / runs)
            };
            let mut least = time(1)?;
            // Long runs are the same each time.
            if least < MEASURED {
                let runs = (MEASURED.as_nanos() / least.as_nanos().max(1)).clamp(1, 50) as u32;
                least = least.min(time(runs)?).min(time(runs)?);
            }
            times.insert(kernel.variant.clone(), least.as_secs_f64() * 1e3);
            dearest = dearest.max(start.elapsed() - began);
        }
        Ok(if times.len() > 1 { times } else { BTreeMap::new() })
    }

    /// The inputs of a small batch, if the op is large and its kernels are the same ones for it.
    fn small_inputs(&self, gpu: &Gpu) -> Vec<Meta> {
        let batch = self.inputs.first().and_then(|meta| meta.dims().first().copied()).unwrap_or(1);
        if self.inputs.iter().map(Meta::elements).sum::<usize>() <= SMALL || batch <= 2 {
            return self.inputs.clone();
        }
        let cut = |meta: &Meta| match meta.dims() {
            [n, rest @ ..] if *n == batch => Meta::new([&[2], rest].concat(), meta.dtype),
            _ => meta.clone(),
        };
        let small: Vec<Meta> = self.inputs.iter().map(cut).collect();
        let computed: Vec<Meta> = small.iter().map(Meta::computed).collect();
        let same = self.op.infer(&computed.iter().collect::<Vec<_>>()).is_ok_and(|output| {
            let metas: Vec<&Meta> = small.iter().collect();
            let output = if self.result == DType::F16 { Meta::new(output.shape, self.result) } else { output };
            key(self.op.as_ref(), &graph::kernels(self.op.as_ref(), &metas, &output, gpu.capabilities())) == self.key
        });
        if same { small } else { self.inputs.clone() }
    }
}

fn describe(inputs: &[Meta]) -> String {
    inputs.iter().map(Meta::to_string).collect::<Vec<_>>().join(", ")
}
