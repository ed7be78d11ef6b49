//! What ends a run, the optimizer above all, compared with its twin on the CPU before it is first used.

use std::sync::Arc;

use super::choices::{Known, fingerprint};
use super::context::Gpu;
use super::program::Program;
use super::weights::Weights;
use crate::cpu::{self, Arena};
use crate::error::Result;
use crate::graph::{Comparison, Ending, Graph, Launch, Layout, Tolerance, Update, accumulate_launch, clip_launches};
use crate::tensor::{Array, Meta};

impl Gpu {
    /// Makes sure that the kernels of `ending` agree with the CPU.
    ///
    /// Errors: if they do not.
    pub(super) fn prepare_ending(self: &Arc<Self>, ending: &Ending) -> Result<()> {
        // Sums of gradients are compared with the optimizer that takes them.
        let Some(update) = ending.update() else { return Ok(()) };
        let twins = Twins::new(ending.clone(), update.clone())?;
        let key = twins.key();
        if self.is_certified(&key) {
            return Ok(());
        }
        match twins.objection(self)? {
            None => self.certified(key, Known { variant: VARIANT.into(), ..Known::default() }),
            Some(objection) => {
                let what =
                    format!("the optimizer wrongly; use --device cpu, and please report:\n  {update:?}\n  {objection}");
                return Err(self.computes_wrongly(&what));
            }
        }
        Ok(())
    }
}

/// There is one form of each of these kernels.
const VARIANT: &str = "arena";
/// Large, so that a wrong step shows.
const LEARNING_RATE: f64 = 0.5;

/// A network whose gradients are its inputs.
struct Twins {
    ending: Ending,
    update: Arc<dyn Update>,
    graph: Graph,
    parameters: Arc<Layout>,
    states: Arc<Layout>,
}

impl Twins {
    fn new(ending: Ending, update: Arc<dyn Update>) -> Result<Self> {
        let mut graph = Graph::new();
        // One is subject to weight decay, the other not.
        for (name, shape) in [("weight", &[31, 7][..]), ("bias", &[53])] {
            let parameter = graph.parameter(name, shape);
            let gradient = graph.input(name, Meta::f32(shape));
            graph.set_gradient(parameter, gradient);
        }
        let (parameters, states) = (Arc::new(Layout::parameters(&graph)), Arc::new(Layout::states(&graph)));
        Ok(Self { ending, update, graph, parameters, states })
    }

    /// Made of the texts of all kernels, which hold nothing of the network.
    fn key(&self) -> String {
        let clip = self.update.clip_norm().map(|largest| clip_launches(&self.parameters, largest, 1.0));
        let sum = matches!(self.ending, Ending::UpdateBySum(_)).then(|| accumulate_launch(&self.parameters));
        let launches: Vec<Launch> =
            clip.into_iter().flatten().chain(sum).chain([self.update.launch(&self.parameters)]).collect();
        format!("update-{:016x}", fingerprint(launches.iter().map(|launch| launch.source.as_str())))
    }

    /// What is wrong with the kernels.
    fn objection(&self, gpu: &Arc<Gpu>) -> Result<Option<String>> {
        let wrong = self.on_cpu()?;
        let found = self.on_gpu(gpu)?;
        let pairs = wrong.iter().zip(&found).enumerate();
        Ok(pairs.into_iter().find_map(|(i, (expected, found))| {
            let comparison =
                Comparison { expected, magnitude: expected, tolerance: Tolerance::Transcendental, half: false };
            let what = if i == 0 { "parameters".to_owned() } else { format!("moment {i}") };
            // Each of the two may be off by the bound.
            comparison.objection(found, |_, bound| Some(2.0 * bound)).map(|text| format!("{what}: {text}"))
        }))
    }

    fn on_cpu(&self) -> Result<Vec<Array>> {
        let weights = cpu::Weights::new(self.parameters.clone(), self.states.clone(), self.update.moments());
        self.arenas().for_each(|arena| weights.write(arena, &self.start(arena)));
        for (i, (ending, scalars)) in self.runs().into_iter().enumerate() {
            let mut program = cpu::Program::new(&self.graph, &weights, ending)?;
            self.gradients(i).try_for_each(|(name, values)| program.feed(name, bytemuck::cast_slice(&values)))?;
            program.run(&scalars)?;
        }
        Ok(self.arenas().map(|arena| self.named(&weights.read(arena))).collect())
    }

    fn on_gpu(&self, gpu: &Arc<Gpu>) -> Result<Vec<Array>> {
        let weights = Weights::new(gpu, self.parameters.clone(), self.states.clone(), self.update.moments())?;
        self.arenas().for_each(|arena| weights.write(arena, &self.start(arena)));
        for (i, (ending, scalars)) in self.runs().into_iter().enumerate() {
            let mut program = Program::with_kernels(gpu, &self.graph, &weights, ending, &|_, _| 0)?;
            self.gradients(i).try_for_each(|(name, values)| program.feed(name, bytemuck::cast_slice(&values)))?;
            program.run(&scalars)?;
            program.take_result()?;
        }
        self.arenas().map(|arena| weights.read(arena).map(|values| self.named(&values))).collect()
    }

    fn arenas(&self) -> impl Iterator<Item = Arena> + use<> {
        [Arena::Parameters].into_iter().chain((0..self.update.moments()).map(Arena::Moment))
    }

    /// The runs after which the arenas are compared, with their scalars.
    fn runs(&self) -> Vec<(Ending, Vec<f32>)> {
        let step = (self.ending.clone(), self.update.scalars(LEARNING_RATE, 2));
        match self.ending {
            Ending::UpdateBySum(_) => {
                vec![(Ending::Accumulate, vec![0.75, 0.0]), (Ending::Accumulate, vec![0.25, 1.0]), step]
            }
            _ => vec![step],
        }
    }

    /// The gradients of a run.
    fn gradients(&self, run: usize) -> impl Iterator<Item = (&str, Vec<f32>)> {
        self.parameters.entries().iter().map(move |entry| {
            let wave = |i: usize| ((i * (run + 3) + entry.offset) as f32 * 0.37).sin();
            (entry.name.as_str(), (0..entry.shape.elements()).map(wave).collect())
        })
    }

    /// What an arena holds before: second moments are not negative.
    fn start(&self, arena: Arena) -> Vec<f32> {
        let wave = |i: usize| (i as f32 * 0.53).cos();
        let value = |i: usize| if arena == Arena::Parameters { wave(i) } else { 1.25 + wave(i) };
        (0..self.parameters.len()).map(value).collect()
    }

    /// Without the gaps between tensors.
    fn named(&self, arena: &[f32]) -> Array {
        let values = self.parameters.entries().iter().flat_map(|e| &arena[e.offset..][..e.shape.elements()]);
        let data: Vec<f64> = values.map(|&x| f64::from(x)).collect();
        Array { shape: [data.len()].into(), data }
    }
}
