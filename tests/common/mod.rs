//! What tests of whole networks share.

use ocellus::data::Batch;
use ocellus::device::Device;
use ocellus::ops::AugmentRow;

/// Both backends. Without an adapter the tests fail: a software one is enough.
pub fn devices() -> Vec<Device> {
    let gpu = Device::named("gpu")
        .expect("a GPU adapter, if only a software one (Debian: apt-get install mesa-vulkan-drivers)");
    vec![Device::Cpu, gpu]
}

/// A batch of unchanged images.
#[allow(dead_code, reason = "each test crate has its own copy, and some need only devices")]
pub fn batch(images: Vec<u8>, labels: Vec<i32>) -> Batch {
    let n = labels.len();
    let (rows, indices) = (vec![AugmentRow::STILL; n], (0..n).collect());
    Batch { images: images.into(), labels, rows, mixes: None, targets: Vec::new(), indices }
}
