//! Activations kept in 16 bits between the ops: half the memory and half the traffic. Every op computes in f32 as ever; what
//! changes is how a GPU's kernels load and store. Parameters, their gradients, states and results stay f32 (after
//! P. Micikevicius et al., Mixed Precision Training, 2018, <https://arxiv.org/abs/1710.03740>).
//!
//! Gradients of activations are so small that 16 bits would round many to zero. So the loss is scaled up, and the update
//! scales the gradients of the parameters down again. The scale is a power of two, fixed by how many terms the loss is the
//! mean of. A scale that adapts would have to notice infinities, which WGSL lets a driver optimise away.

use std::sync::Arc;

use super::{Binding, Capabilities, Graph, Kernel, Kind, Launch, Op, Value, pieces};
use crate::tensor::{DType, Meta, Tensor};

/// Elements from which on a value is worth it.
const LARGE: usize = 1 << 12;
/// The scaled gradient of each term of the loss. The largest f16 is 256 times as large, the smallest 2³² times smaller.
const GRADIENT_OF_A_TERM: f32 = 256.0;

/// Makes all gradients larger by [`Graph::gradient_scale`].
pub(super) fn scale_gradients(graph: &mut Graph) {
    let Some((loss, seed)) = graph.seed else { return };
    let scale = GRADIENT_OF_A_TERM * terms(graph, loss).next_power_of_two() as f32;
    if let Kind::Constant(tensor) = &graph.nodes[seed.index()].kind {
        let scaled = tensor.to_array().map(|one| one * f64::from(scale));
        graph.nodes[seed.index()].kind = Kind::Constant(Arc::new(Tensor::from_array(&scaled, DType::F32)));
        graph.gradient_scale = Some(scale);
    }
}

/// How many terms a loss is the mean, or the sum of means, of.
fn terms(graph: &Graph, value: Value) -> usize {
    let node = graph.node(value);
    match node.meta.elements() {
        1 => node.inputs.iter().map(|&input| terms(graph, input)).max().unwrap_or(1),
        many => many,
    }
}

/// Keeps the large intermediate values in 16 bits: maps of features, but neither the results of the graph nor what they are
/// pieces of.
pub(super) fn narrow(graph: &mut Graph) {
    let mut wide = vec![false; graph.nodes.len()];
    for root in graph.roots() {
        let mut chain = Some(root);
        while let Some(value) = chain {
            wide[value.index()] = true;
            chain = pieces::source(graph, value).map(|(source, _)| source);
        }
    }
    narrow_where(graph, |value, node| {
        let large = node.meta.dims().len() >= 3 && node.meta.elements() >= LARGE;
        node.op().is_some() && large && !wide[value.index()]
    });
}

/// Keeps the floats that `chosen` names in 16 bits; views follow what they show.
pub(crate) fn narrow_where(graph: &mut Graph, chosen: impl Fn(Value, &super::Node) -> bool) {
    for i in 0..graph.nodes.len() {
        let node = &graph.nodes[i];
        let dtype = match node.op().is_some_and(|op| op.is_alias()) {
            true => graph.meta(node.inputs[0]).dtype,
            false if node.meta.dtype == DType::F32 && chosen(Value(i as u32), node) => DType::F16,
            false => node.meta.dtype,
        };
        graph.nodes[i].meta.dtype = dtype;
    }
}

/// The kernels of an op whose inputs and result are kept as `inputs` and `output` say: those of [`Op::kernels`], loading and
/// storing 16 bits where that is so.
pub fn kernels(op: &dyn Op, inputs: &[&Meta], output: &Meta, capabilities: &Capabilities) -> Vec<Kernel> {
    let computed: Vec<Meta> = inputs.iter().map(|meta| meta.computed()).collect();
    let mut kernels = op.kernels(&computed.iter().collect::<Vec<_>>(), &output.computed(), capabilities);
    let half = |binding: Binding| match binding {
        Binding::Input(i) => inputs[i].dtype == DType::F16,
        Binding::Output => output.dtype == DType::F16,
        _ => false,
    };
    for launch in kernels.iter_mut().flat_map(|kernel| &mut kernel.launches) {
        let bindings = launch.bindings.clone();
        for (i, _) in bindings.iter().enumerate().filter(|(_, binding)| half(**binding)) {
            narrow_binding(launch, i + 1);
        }
    }
    kernels
}

/// What kernels in 16 bits share. Larger numbers become the largest there is: what a conversion makes of them is not the same
/// everywhere.
const HEADER: &str = "enable f16;
fn narrow(x: f32) -> f16 {
    return f16(select(clamp(x, -65504.0, 65504.0), x, x != x));
}
fn narrow4(x: vec4f) -> vec4h {
    return vec4h(select(clamp(x, vec4f(-65504.0), vec4f(65504.0)), x, x != x));
}
";

/// How an element of an array is loaded from, and stored to, 16 bits.
struct Conversion {
    element: &'static str,
    load: [&'static str; 2],
    store: [&'static str; 2],
}

impl Conversion {
    /// Of an array whose elements are of type `element`; words are the bits of floats that a kernel only moves.
    fn of(element: &str) -> Self {
        match element {
            "f32" => Self { element: "f16", load: ["f32(", ")"], store: ["narrow(", ")"] },
            "vec4f" | "vec4<f32>" => Self { element: "vec4h", load: ["vec4f(", ")"], store: ["narrow4(", ")"] },
            "vec4u" => Self {
                element: "vec4h",
                load: ["bitcast<vec4u>(vec4f(", "))"],
                store: ["narrow4(bitcast<vec4f>(", "))"],
            },
            "u32" => Self { element: "f16", load: ["bitcast<u32>(f32(", "))"], store: ["narrow(bitcast<f32>(", "))"] },
            other => unreachable!("no kernel holds floats in an array of {other}"),
        }
    }
}

/// Rewrites the text of a launch so that the storage buffer at `binding` holds 16-bit floats: its declaration, and each
/// `name[index]`, which is a store where `=` follows and a load elsewhere.
fn narrow_binding(launch: &mut Launch, binding: usize) {
    let declared = format!("@binding({binding}) var<storage, ");
    let parts = |source: &str| {
        let start = source.find(&declared)?;
        let (before, rest) = source[start..].split_once("> ")?;
        let (name, rest) = rest.split_once(": array<")?;
        let (element, _) = rest.split_once(">;")?;
        let at = start + before.len() + 2 + name.len() + ": array<".len();
        Some((name.to_owned(), element.to_owned(), at))
    };
    let Some((name, element, at)) = parts(&launch.source) else { return };
    let alias = format!("alias {element} = ");
    let known =
        launch.source.split_once(&alias).and_then(|(_, rest)| rest.split_once(';')).map(|(of, _)| of.to_owned());
    let conversion = Conversion::of(known.as_deref().unwrap_or(&element));
    launch.source.replace_range(at..at + element.len(), conversion.element);
    launch.source = rewrite(&launch.source, &name, &conversion);
    if !launch.source.starts_with(HEADER) {
        launch.source.insert_str(0, HEADER);
    }
}

/// The text with every access to the array `name` converted.
fn rewrite(text: &str, name: &str, conversion: &Conversion) -> String {
    let mut result = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while let Some((before, inside, after)) = next_access(rest, name) {
        result.push_str(before);
        let place = format!("{name}[{}]", rewrite(inside, name, conversion));
        let assigned = after.trim_start().strip_prefix('=').filter(|value| !value.starts_with('='));
        let (text, left) = match assigned.and_then(|value| value.split_once(';')) {
            Some((value, left)) => {
                let [open, close] = conversion.store;
                let value = rewrite(value.trim_start(), name, conversion);
                (format!("{place} = {open}{value}{close};"), left)
            }
            None => {
                let [open, close] = conversion.load;
                (format!("{open}{place}{close}"), after)
            }
        };
        result.push_str(&text);
        rest = left;
    }
    result.push_str(rest);
    result
}

/// Splits at the first `name[inside]`: what comes before, what is inside, what comes after.
fn next_access<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let access = format!("{name}[");
    let in_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let start = text.match_indices(&access).map(|(at, _)| at).find(|&at| !text[..at].ends_with(in_word))?;
    let inside = start + access.len();
    let mut depth = 1;
    let end = text[inside..].find(|c: char| {
        depth += match c {
            '[' => 1,
            ']' => -1,
            _ => 0,
        };
        depth == 0
    })?;
    Some((&text[..start], &text[inside..inside + end], &text[inside + end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_are_converted_and_nothing_else() {
        let source = "alias V = vec4f;\n\
            @group(0) @binding(1) var<storage, read> a: array<V>;\n\
            @group(0) @binding(2) var<storage, read_write> output: array<f32>;\n\
            fn main() { let aa = a[i + 1u] == b.a[0]; output[ids[a[2].x]] = a[j[0]].y * 2.0; }";
        let mut launch = Launch::new("test.wgsl", source).bindings([Binding::Input(0), Binding::Output]);
        narrow_binding(&mut launch, 1);
        narrow_binding(&mut launch, 2);
        let expected = format!(
            "{HEADER}alias V = vec4f;\n\
            @group(0) @binding(1) var<storage, read> a: array<vec4h>;\n\
            @group(0) @binding(2) var<storage, read_write> output: array<f16>;\n\
            fn main() {{ let aa = vec4f(a[i + 1u]) == b.a[0]; output[ids[vec4f(a[2]).x]] = narrow(vec4f(a[j[0]]).y * 2.0); }}"
        );
        assert_eq!(launch.source, expected);
    }
}
