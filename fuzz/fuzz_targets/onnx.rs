#![no_main]

use std::sync::Arc;

use ocellus::device::Device;
use ocellus::interop::onnx::{Network, Session, Values};
use ocellus::tensor::Array;

/// Open extents are bound to this.
const EXTENT: usize = 2;
/// Larger inputs are not tried.
const MOST: usize = 1 << 16;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(network) = Network::parse(data, None) else { return };
    let mut given = Vec::new();
    for input in network.inputs() {
        let dims: Vec<usize> = input.dims.iter().flatten().map(|d| d.unwrap_or(EXTENT)).collect();
        if dims.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).is_none_or(|n| n > MOST) {
            return;
        }
        given.push((input.name.clone(), Values { element: input.element, array: Array::zeros(&dims.into()) }));
    }
    let _ = Session::new(Arc::new(network), &Device::Cpu).run(&given);
});
