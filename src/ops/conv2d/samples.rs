use super::{
    Conv2d, Conv2dForward, Conv2dGradInput, Conv2dGradWeight, Conv2dMaxPool, Conv2dMaxPoolGradWeight, Geometry, cpu,
};
use crate::graph::{Expression, Function, Term};
use crate::ops::Sample;

/// Attributes, input and weight of the convolutions that are tested, in all three ops.
fn cases() -> Vec<(Conv2d, [usize; 4], [usize; 4])> {
    let plain = Conv2d::default();
    let same = Conv2d { padding: [1; 4], ..plain };
    vec![
        (plain, [1, 1, 1, 1], [1, 1, 1, 1]),
        (plain, [2, 5, 6, 3], [3, 3, 3, 4]),
        (plain, [1, 7, 5, 1], [3, 2, 1, 5]),
        (plain, [2, 4, 5, 4], [1, 1, 4, 8]),
        (same, [2, 6, 5, 4], [3, 3, 4, 8]),
        (same, [1, 9, 9, 8], [3, 3, 8, 12]),
        (same, [3, 4, 4, 5], [3, 3, 5, 6]),
        (Conv2d { stride: [2, 2], padding: [0, 1, 0, 1], ..plain }, [2, 6, 8, 3], [3, 3, 3, 4]),
        (Conv2d { stride: [2, 3], padding: [1, 0, 2, 1], ..plain }, [2, 7, 9, 4], [3, 4, 4, 4]),
        (Conv2d { stride: [3, 4], ..plain }, [1, 8, 9, 2], [2, 2, 2, 4]),
        (Conv2d { stride: [2, 2], ..plain }, [2, 5, 5, 4], [1, 1, 4, 8]),
        (Conv2d { dilation: [2, 3], padding: [2, 1, 0, 3], ..plain }, [1, 8, 9, 4], [3, 2, 4, 4]),
        (Conv2d { groups: 2, ..same }, [2, 5, 4, 6], [3, 3, 3, 4]),
        (Conv2d { groups: 2, ..same }, [1, 5, 4, 8], [3, 3, 4, 8]),
        (Conv2d { groups: 6, ..same }, [2, 5, 4, 6], [3, 3, 1, 6]),
        (Conv2d { groups: 8, stride: [2, 1], ..same }, [2, 5, 4, 8], [3, 3, 1, 8]),
        (Conv2d { groups: 3, ..same }, [1, 4, 4, 3], [3, 3, 1, 6]),
        (same, [1, 3, 37, 4], [3, 3, 4, 68]),
        (same, [5, 13, 11, 4], [3, 3, 4, 4]),
        (plain, [2, 17, 16, 3], [3, 3, 3, 8]),
        (same, [2, 7, 9, 32], [3, 3, 32, 36]),
        (Conv2d { padding: [2; 4], ..plain }, [1, 4, 5, 4], [2, 2, 4, 4]),
        (Conv2d { padding: [3; 4], ..plain }, [1, 4, 5, 4], [3, 3, 4, 4]),
        (Conv2d { groups: 4, dilation: [2, 1], padding: [2, 1, 1, 1], ..plain }, [2, 6, 5, 4], [3, 3, 1, 4]),
        // Enough channels for Winograd's algorithm: tiles cut off by the result, whole ones, padding beyond the window.
        (same, [2, 9, 6, 16], [3, 3, 16, 20]),
        (plain, [3, 10, 14, 17], [3, 3, 17, 16]),
        (plain, [2, 10, 11, 20], [3, 3, 20, 16]),
        (same, [9, 4, 8, 33], [3, 3, 33, 48]),
        (Conv2d { padding: [2, 0, 1, 4], ..plain }, [1, 7, 9, 16], [3, 3, 16, 16]),
        // Few channels, and filters for vectors: whole and cut tiles, several at a time, all paddings.
        (plain, [2, 10, 17, 1], [3, 3, 1, 16]),
        (same, [3, 9, 14, 3], [3, 3, 3, 36]),
        (Conv2d { padding: [1, 0, 0, 1], ..plain }, [2, 12, 11, 15], [3, 3, 15, 20]),
        // The gradient for the input of each phase of a stride longer than the window, or with gaps in it.
        (Conv2d { stride: [3, 2], dilation: [2, 2], padding: [3, 2, 1, 5], groups: 2 }, [2, 8, 9, 6], [3, 2, 3, 4]),
        (Conv2d { stride: [2, 2], ..same }, [2, 8, 8, 16], [3, 3, 16, 32]),
    ]
}

/// All three ops on all cases, and epilogues.
pub(in crate::ops) fn samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    for (conv, input, weight) in cases() {
        let g = Geometry::new(&conv, &input, &weight).expect("the samples fit");
        let grad = [g.n, g.output[0], g.output[1], g.filters];
        samples.push(Sample::new(Conv2dForward::new(conv), [&input, &weight]));
        samples.push(Sample::new(Conv2dGradInput::new(conv, g.input), [&grad, &weight]));
        samples.push(Sample::new(Conv2dGradWeight::new(conv, g.window.size), [&input, &grad]).forward_only());
        let maxima = [g.n, g.output[0] / 2, g.output[1] / 2, g.filters];
        if cpu::pools(&g) {
            samples.push(Sample::new(Conv2dMaxPool::new(conv, None), [&input, &weight]).forward_only());
        }
        if cpu::grad_weight_pools(&g) {
            let op = Conv2dMaxPoolGradWeight::new(conv);
            samples.push(Sample::new(op, [&input, &weight, &maxima]).forward_only());
        }
    }
    let relu = Expression::new(|[x, bias]: [Term; 2]| (x + bias).call(Function::Relu));
    let all = Expression::new(|[x, bias, residual]: [Term; 3]| ((x + bias) + residual).call(Function::Tanh));
    for o in [5, 8] {
        let (input, weight, result) = ([2, 5, 6, 4], [3, 3, 4, o], [2, 3, 4, o]);
        let fused = |e: &Expression| Conv2dForward { conv: Conv2d::default(), epilogue: Some(e.clone()) };
        samples.push(Sample::new(fused(&relu), [&input, &weight, &[o]]).forward_only());
        samples.push(Sample::new(fused(&all), [&input, &weight, &[o], &result]).forward_only());
    }
    // All kernels of the gradient for the input, with one.
    let gate = Expression::new(|[g, bias, x, other]: [Term; 4]| {
        Term::Constant(0.0).with(Function::Less, x).select(g + other, bias)
    });
    for (c, o, groups) in [(4, 8, 1), (4, 5, 1), (5, 4, 1), (8, 8, 2), (4, 4, 4), (16, 20, 1)] {
        let conv = Conv2d { groups, ..Conv2d::default() };
        let (grad, weight, result) = ([2, 6, 7, o], [3, 3, c / groups, o], [2, 8, 9, c]);
        let op = Conv2dGradInput { epilogue: Some(gate.clone()), ..Conv2dGradInput::new(conv, [8, 9]) };
        samples.push(Sample::new(op, [&grad, &weight, &[c], &result, &result]).forward_only());
    }
    for (input, weight) in [([2, 6, 9, 3], [3, 3, 3, 8]), ([2, 6, 9, 16], [3, 3, 16, 16])] {
        let fused = Conv2dMaxPool::new(Conv2d::default(), Some(relu.clone()));
        samples.push(Sample::new(fused, [&input, &weight, &weight[3..]]).forward_only());
    }
    samples
}
