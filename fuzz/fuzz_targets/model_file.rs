#![no_main]

use ocellus::nn::Model;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(model) = Model::parse(text) {
        let _ = model.tensors();
    }
});
