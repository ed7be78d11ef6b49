use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::call::Call;
use super::emitter::Emitter;
use super::operators::OPERATORS;
use super::tensor::{self, Content, Origin, Tensor};
use super::{Element, Halt, Network, Outcome, Values, read_tensor};
use crate::device::{Device, Program, Weights};
use crate::error::{Error, Result};
use crate::graph::{Ending, Kind, Layout};
use crate::tensor::{Array, Meta};

/// A network on a device. What was compiled for a run serves the following ones whose inputs have the same shapes.
pub struct Session {
    network: Arc<Network>,
    device: Device,
    stage: Option<Stage>,
}

/// The first graph of a run, compiled.
struct Stage {
    key: Vec<Bound>,
    program: Program,
    taken: Vec<Taken>,
    /// What else is known behind it.
    known: BTreeMap<String, Tensor>,
    /// The first node that is not in it.
    next: usize,
}

/// What a compiled graph was made for: an input's shape, and its values if they are not fed to the device.
#[derive(PartialEq)]
struct Bound {
    element: Element,
    dims: Vec<usize>,
    values: Option<Arc<Array>>,
}

/// A result of a compiled graph.
#[derive(Clone)]
struct Taken {
    name: String,
    element: Element,
    dims: Vec<usize>,
    order: Vec<usize>,
}

impl Session {
    /// A network on a device.
    pub fn new(network: Arc<Network>, device: &Device) -> Self {
        Self { network, device: device.clone(), stage: None }
    }

    /// Runs the network. Results come in the order of [`Network::outputs`].
    ///
    /// Errors: if an input is missing, unknown or of another type or shape, or if a node does not fit its inputs.
    pub fn run(&mut self, given: &[(String, Values)]) -> Result<Vec<Values>> {
        let network = self.network.clone();
        let bound = bind(&network, given)?;
        let mut walk =
            match self.stage.take().filter(|stage| stage.key == bound.iter().map(|(_, b)| b.key()).collect::<Vec<_>>())
            {
                Some(mut stage) => {
                    let walk = stage.resume(&network, &bound)?;
                    self.stage = Some(stage);
                    walk
                }
                None => self.start(&network, &bound)?,
            };
        walk.finish(&self.device)?;
        network.outputs().into_iter().map(|name| walk.output(name)).collect()
    }

    /// Walks until the end of the first graph, and keeps it.
    fn start<'n>(&mut self, network: &'n Network, bound: &[(&str, BoundInput)]) -> Result<Walk<'n>> {
        let mut walk = Walk::new(network);
        for (name, input) in bound {
            walk.give(name, input);
        }
        walk.advance()?;
        if let Some((program, taken)) = walk.flush(&self.device)? {
            let results: HashSet<&str> = taken.iter().map(|t| t.name.as_str()).collect();
            let mut known = walk.env.clone();
            known.retain(|name, _| !results.contains(name.as_str()));
            let key = bound.iter().map(|(_, b)| b.key()).collect();
            self.stage = Some(Stage { key, program, taken, known, next: walk.next });
        }
        Ok(walk)
    }
}

impl Stage {
    fn resume<'n>(&mut self, network: &'n Network, bound: &[(&str, BoundInput)]) -> Result<Walk<'n>> {
        let mut walk = Walk::new(network);
        walk.env = self.known.clone();
        walk.next = self.next;
        let mut fed = HashMap::new();
        for (name, input) in bound {
            if let BoundInput::Fed { values, .. } = input {
                fed.insert((*name).to_owned(), values.clone());
            }
        }
        walk.take_results(&mut self.program, &fed, &self.taken)?;
        Ok(walk)
    }
}

/// An input as a run takes it.
enum BoundInput {
    /// Fed to the device.
    Fed { element: Element, dims: Vec<usize>, values: Arc<Vec<f32>> },
    /// Known while the graph is made.
    Known(Tensor),
}

impl BoundInput {
    fn key(&self) -> Bound {
        match self {
            Self::Fed { element, dims, .. } => Bound { element: *element, dims: dims.clone(), values: None },
            Self::Known(tensor) => {
                Bound { element: tensor.element, dims: tensor.dims.clone(), values: tensor.array().ok().cloned() }
            }
        }
    }
}

fn bind<'n>(network: &'n Network, given: &[(String, Values)]) -> Result<Vec<(&'n str, BoundInput)>> {
    let names = || network.inputs.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some((name, _)) = given.iter().find(|(name, _)| !network.inputs.iter().any(|i| i.name == *name)) {
        return Err(Error::config(format!("the network has no input \"{name}\"; it has {}", names())));
    }
    let mut bound = Vec::new();
    for input in &network.inputs {
        let name = &input.name;
        let values = given.iter().find(|(n, _)| n == name).map(|(_, v)| v);
        let values =
            values.ok_or_else(|| Error::config(format!("input \"{name}\" is missing; the network has {}", names())))?;
        if values.element != input.element {
            let (wanted, got) = (input.element.name(), values.element.name());
            return Err(Error::config(format!("input \"{name}\" must be {wanted}, but is {got}")));
        }
        let dims = values.array.shape.dims();
        let fits = |wanted: &Vec<Option<usize>>| {
            wanted.len() == dims.len() && wanted.iter().zip(dims).all(|(w, d)| w.is_none_or(|w| w == *d))
        };
        if let Some(wanted) = input.dims.as_ref().filter(|wanted| !fits(wanted)) {
            let extent = |w: &Option<usize>| w.map_or("?".into(), |w| w.to_string());
            let wanted: Vec<String> = wanted.iter().map(extent).collect();
            let message = format!("input \"{name}\" has shape {dims:?}, the network needs [{}]", wanted.join(", "));
            return Err(Error::config(message));
        }
        let fed = input.element.fits_device() && values.array.shape.elements() > 0;
        bound.push((
            name.as_str(),
            if fed {
                let values = Arc::new(values.array.data.iter().map(|&x| x as f32).collect());
                BoundInput::Fed { element: input.element, dims: dims.to_vec(), values }
            } else {
                BoundInput::Known(Tensor::known(input.element, values.array.clone(), Origin::Run))
            },
        ));
    }
    Ok(bound)
}

/// The nodes of a network on the way into graphs.
pub(super) struct Walk<'n> {
    network: &'n Network,
    emitter: Emitter,
    env: BTreeMap<String, Tensor>,
    fed: HashMap<String, Arc<Vec<f32>>>,
    /// Names that are used for the last time by each node.
    last: Vec<Vec<&'n str>>,
    /// Names that are used at all.
    used: HashSet<&'n str>,
    next: usize,
}

/// An initializer of more elements is read again for each node that uses it.
const KEPT: usize = 4096;

impl<'n> Walk<'n> {
    fn new(network: &'n Network) -> Self {
        Self::to(network, network.outputs())
    }

    fn to(network: &'n Network, wanted: Vec<&'n str>) -> Self {
        let mut seen: HashSet<&str> = wanted.into_iter().collect();
        let nodes = network.graph.node.iter().rev();
        let used =
            |node: &'n super::proto::Node| node.input.iter().map(String::as_str).filter(|&n| seen.insert(n)).collect();
        let mut last: Vec<Vec<&str>> = nodes.map(used).collect();
        last.reverse();
        Self {
            network,
            emitter: Emitter::default(),
            env: BTreeMap::new(),
            fed: HashMap::new(),
            last,
            used: seen,
            next: 0,
        }
    }

    /// From one tensor to one value, in a graph begun elsewhere.
    pub(super) fn between(network: &'n Network, emitter: Emitter, name: &str, given: Tensor, wanted: &'n str) -> Self {
        let mut walk = Self { emitter, ..Self::to(network, vec![wanted]) };
        walk.env.insert(name.to_owned(), given);
        walk
    }

    /// Walks until a value is written.
    ///
    /// Errors: if that needs values in between, or nothing computes it.
    pub(super) fn reach(&mut self, wanted: &str) -> Result<()> {
        while !self.env.contains_key(wanted) {
            let Some(node) = self.network.graph.node.get(self.next) else {
                return Err(Error::shape("onnx", format!("nothing computes \"{wanted}\"")));
            };
            match self.node() {
                Ok(()) => self.next += 1,
                Err(Halt::Failed(error)) => return Err(error),
                Err(Halt::NeedsValues) => {
                    let at = format!("{} \"{}\"", node.op_type, node.label());
                    return Err(Error::shape(
                        at,
                        "depends on values, not on shapes alone: `ocellus run` runs such networks",
                    ));
                }
            }
        }
        Ok(())
    }

    /// What was written, and a value.
    pub(super) fn into_parts(mut self, wanted: &str) -> (Emitter, Option<Tensor>) {
        let tensor = self.env.remove(wanted);
        (self.emitter, tensor)
    }

    fn give(&mut self, name: &str, input: &BoundInput) {
        let tensor = match input {
            BoundInput::Known(tensor) => tensor.clone(),
            BoundInput::Fed { element, dims, values } => {
                self.fed.insert(name.to_owned(), values.clone());
                let value = self.emitter.graph.input(name, Meta::f32(dims.clone()));
                Tensor::plain(*element, value, dims.clone())
            }
        };
        self.env.insert(name.to_owned(), tensor);
    }

    /// Walks up to the first node that needs values, or to the end.
    fn advance(&mut self) -> Result<()> {
        while self.next < self.network.graph.node.len() {
            match self.node() {
                Ok(()) => self.next += 1,
                Err(Halt::NeedsValues) => break,
                Err(Halt::Failed(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Walks to the end, running what must be run on the way.
    fn finish(&mut self, device: &Device) -> Result<()> {
        loop {
            self.advance()?;
            let Some(node) = self.network.graph.node.get(self.next) else { break };
            if !self.env.values().any(|t| !t.is_known()) {
                return Err(Error::shape(&node.op_type, "needs values that are not there"));
            }
            self.flush(device)?;
        }
        self.flush(device).map(drop)
    }

    /// Writes the next node.
    fn node(&mut self) -> Outcome<()> {
        let node = &self.network.graph.node[self.next];
        let mut inputs = Vec::with_capacity(node.input.len());
        for name in &node.input {
            inputs.push(if name.is_empty() { None } else { Some(self.value(name)?) });
        }
        let call = Call { node, inputs, opset: self.network.opset };
        let (_, write) = OPERATORS.iter().find(|(name, _)| *name == node.op_type).expect("checked when opened");
        self.emitter.graph.scope(node.output.first().map_or("", String::as_str));
        let results = write(&mut self.emitter, &call)?;
        for (name, tensor) in node.output.iter().zip(results) {
            if self.used.contains(name.as_str()) {
                self.env.insert(name.clone(), tensor);
            }
        }
        for name in &self.last[self.next] {
            self.env.remove(*name);
        }
        Ok(())
    }

    fn value(&mut self, name: &str) -> Outcome<Tensor> {
        if let Some(tensor) = self.env.get(name) {
            return Ok(tensor.clone());
        }
        let stored = self.network.initializer(name);
        let stored = stored.ok_or_else(|| Error::shape("onnx", format!("nothing computes \"{name}\"")))?;
        let mut tensor = read_tensor(stored).map_err(|message| Error::shape(name, message))?;
        if let Content::Known { origin, .. } = &mut tensor.content {
            *origin = Origin::File(Some(name.into()));
        }
        if tensor.elements() <= KEPT {
            self.env.insert(name.to_owned(), tensor.clone());
        }
        Ok(tensor)
    }

    /// Runs the graph so far, so that all values are known, and starts another. Returns what was compiled, if anything
    /// was.
    fn flush(&mut self, device: &Device) -> Result<Option<(Program, Vec<Taken>)>> {
        let mut emitter = std::mem::take(&mut self.emitter);
        let mut taken = Vec::new();
        for (name, tensor) in &mut self.env {
            let Content::Device { value, order } = &tensor.content else { continue };
            if let Kind::Input = emitter.graph.node(*value).kind {
                let fed = &self.fed[&emitter.graph.node(*value).name];
                let physical: Vec<usize> = order.iter().map(|&axis| tensor.dims[axis]).collect();
                let array = Array { shape: physical.into(), data: fed.iter().map(|&x| f64::from(x)).collect() };
                *tensor = in_order(tensor.element, &array, order);
                continue;
            }
            emitter.graph.output(name, *value);
            let Tensor { element, dims, .. } = tensor.clone();
            taken.push(Taken { name: name.clone(), element, dims, order: order.clone() });
        }
        if taken.is_empty() {
            return Ok(None);
        }
        let weights: Weights = device.weights(Layout::parameters(&emitter.graph), Layout::states(&emitter.graph), 0)?;
        let mut program = device.compile(&emitter.graph, &weights, Ending::Nothing)?;
        let fed = std::mem::take(&mut self.fed);
        self.take_results(&mut program, &fed, &taken)?;
        Ok(Some((program, taken)))
    }

    fn take_results(
        &mut self,
        program: &mut Program,
        fed: &HashMap<String, Arc<Vec<f32>>>,
        taken: &[Taken],
    ) -> Result<()> {
        let inputs: Vec<(String, Meta)> = (program.plan().graph.nodes().iter())
            .filter(|n| matches!(n.kind, Kind::Input))
            .map(|n| (n.name.clone(), n.meta.clone()))
            .collect();
        for (name, _) in &inputs {
            program.feed(name, bytemuck::cast_slice(&fed[name]))?;
        }
        program.run(&[])?;
        let results = program.take_result()?.unwrap_or_default();
        for (Taken { name, element, dims, order }, result) in taken.iter().zip(results) {
            let mut array = result.to_array();
            array.shape = order.iter().map(|&axis| dims[axis]).collect::<Vec<_>>().into();
            self.env.insert(name.clone(), in_order(*element, &array, order));
        }
        Ok(())
    }

    fn output(&mut self, name: &str) -> Result<Values> {
        let missing = || Error::shape("onnx", format!("nothing computes the result \"{name}\""));
        let tensor = self.value(name).map_err(|_| missing())?;
        let array = tensor.array().map_err(|_| missing())?;
        Ok(Values { element: tensor.element, array: array.map(|x| tensor.element.hold(x)) })
    }
}

/// A tensor whose elements stand in that order of axes.
fn in_order(element: Element, array: &Array, order: &[usize]) -> Tensor {
    let mut back = vec![0; order.len()];
    order.iter().enumerate().for_each(|(k, &axis)| back[axis] = k);
    let array = if order.is_sorted() { array.clone() } else { tensor::permuted(array, &back) };
    Tensor::known(element, array, Origin::Run)
}
