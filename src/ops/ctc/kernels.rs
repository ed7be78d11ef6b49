use super::super::rows;
use crate::graph::{Binding, Capabilities, Kernel, Launch};
use crate::tensor::Meta;

/// Bytes of the two rows of states that every adapter holds in workgroup memory.
const WORKGROUP_MEMORY: usize = 16 << 10;
/// Bytes of a number with an exponent of its own.
const WIDE: usize = 8;

/// Extents of the inputs.
struct Extents {
    n: usize,
    steps: usize,
    classes: usize,
    most: usize,
    blank: usize,
}

impl Extents {
    fn of(blank: usize, inputs: &[&Meta]) -> Self {
        let &[n, steps, classes] = inputs[0].dims() else { unreachable!("the shape rule demands three axes") };
        Self { n, steps, classes, most: inputs[1].shape.last(), blank }
    }

    fn states(&self) -> usize {
        2 * self.most + 1
    }

    /// Bytes of the softmax's maxima and sums.
    fn statistics_bytes(&self) -> usize {
        self.n * self.steps * 8
    }

    /// The forms of a kernel in which lanes share a step.
    fn of_steps(&self, launch: &Launch, capabilities: &Capabilities) -> Vec<Kernel> {
        let launch = launch.clone().constants([("STEPS", self.steps), ("CLASSES", self.classes)]);
        let length = self.classes.max(self.states());
        rows::kernels(self.n * self.steps, length, capabilities, &launch.params([self.n * self.steps]))
    }

    /// The maximum of each step's logits, and the sum of their exponentials.
    fn statistics(&self, capabilities: &Capabilities) -> Vec<Kernel> {
        let launch = Launch::new("ctc_statistics.wgsl", include_str!("../../../shaders/ctc_statistics.wgsl"))
            .bindings([Binding::Input(0), Binding::Scratch(0)]);
        self.of_steps(&launch, capabilities)
    }

    /// A launch in which a workgroup goes through the steps of a sequence, with the states of one step and the next in
    /// workgroup memory, or in scratch memory behind `scratch`, whose buffers are then one more.
    fn of_sequences(&self, launch: &Launch, in_workgroup: bool, scratch: &mut Vec<usize>) -> Launch {
        let mut launch = launch.clone().prepend(include_str!("../../../shaders/common/ctc.wgsl"));
        if in_workgroup {
            launch = launch.prepend(include_str!("../../../shaders/common/ctc_states_workgroup.wgsl"));
        } else {
            launch.bindings.push(Binding::Scratch(scratch.len()));
            scratch.push(self.n * 2 * self.states() * WIDE);
            let binding = launch.bindings.len();
            let declaration = format!("@group(0) @binding({binding}) var<storage, read_write> states: array<Wide>;\n");
            launch =
                launch.prepend(include_str!("../../../shaders/common/ctc_states_scratch.wgsl")).prepend(&declaration);
        }
        let lanes = self.states().next_power_of_two().min(256);
        launch
            .constants([("STEPS", self.steps), ("CLASSES", self.classes), ("MOST", self.most)])
            .constants([("STATES", self.states()), ("BLANK", self.blank), ("LANES", lanes)])
            .params([self.n])
            .threads(self.n, 1)
    }

    /// Whether a kernel whose steps have this form goes through sequences in workgroup memory.
    fn in_workgroup(&self, form: &str) -> bool {
        form == "tree" && 2 * self.states() * WIDE <= WORKGROUP_MEMORY
    }
}

pub(super) fn loss(blank: usize, inputs: &[&Meta], capabilities: &Capabilities) -> Vec<Kernel> {
    let extents = Extents::of(blank, inputs);
    let sequences = Launch::new("ctc_loss.wgsl", include_str!("../../../shaders/ctc_loss.wgsl")).bindings([
        Binding::Input(0),
        Binding::Input(1),
        Binding::Input(2),
        Binding::Scratch(0),
        Binding::Output,
    ]);
    let complete = |mut kernel: Kernel| {
        kernel.scratch = vec![extents.statistics_bytes()];
        let in_workgroup = extents.in_workgroup(&kernel.variant);
        kernel.launches.push(extents.of_sequences(&sequences, in_workgroup, &mut kernel.scratch));
        kernel
    };
    extents.statistics(capabilities).into_iter().map(complete).collect()
}

pub(super) fn gradient(blank: usize, inputs: &[&Meta], capabilities: &Capabilities) -> Vec<Kernel> {
    let extents = Extents::of(blank, inputs);
    let sequences =
        Launch::new("ctc_posteriors.wgsl", include_str!("../../../shaders/ctc_posteriors.wgsl")).bindings([
            Binding::Input(0),
            Binding::Input(1),
            Binding::Input(2),
            Binding::Scratch(0),
            Binding::Scratch(1),
            Binding::Scratch(2),
        ]);
    let steps = Launch::new("ctc_loss_grad.wgsl", include_str!("../../../shaders/ctc_loss_grad.wgsl"))
        .bindings([
            Binding::Input(0),
            Binding::Input(1),
            Binding::Input(3),
            Binding::Scratch(0),
            Binding::Scratch(1),
            Binding::Scratch(2),
            Binding::Output,
        ])
        .constants([("MOST", extents.most), ("STATES", extents.states()), ("BLANK", blank)]);
    let paths = extents.n * extents.steps * extents.states() * WIDE;
    let complete = |(mut kernel, last): (Kernel, Kernel)| {
        kernel.scratch = vec![extents.statistics_bytes(), paths, extents.n * 4];
        let in_workgroup = extents.in_workgroup(&kernel.variant);
        kernel.launches.push(extents.of_sequences(&sequences, in_workgroup, &mut kernel.scratch));
        kernel.launches.extend(last.launches);
        kernel
    };
    let pairs = extents.statistics(capabilities).into_iter().zip(extents.of_steps(&steps, capabilities));
    pairs.map(complete).collect()
}
