//! Files of weights: what is written is read back, and what is damaged or does not fit is refused.

use std::path::Path;

use ocellus::interop::safetensors::{Tensors, expect, load, save};
use ocellus::nn::Model;
use ocellus::tensor::{Shape, Tensor};

fn keras(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keras").join(name)
}

fn some() -> Tensors {
    let floats = Tensor::new([2, 2], vec![1.5_f32, -0.0, f32::MIN_POSITIVE, 3e38]).unwrap();
    let ids = Tensor::new([3], vec![-1, 0, i32::MAX]).unwrap();
    let bytes = Tensor::new([1, 5], vec![0_u8, 1, 2, 3, 255]).unwrap();
    let scalar = Tensor::scalar(0.1);
    [("conv2d.weight", floats), ("ids", ids), ("bytes", bytes), ("scalar", scalar)]
        .map(|(name, tensor)| (name.to_owned(), tensor))
        .into()
}

fn write(path: &Path, tensors: &Tensors) {
    save(path, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
}

#[test]
fn safetensors_are_read_back_as_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    write(&path, &some());
    assert_eq!(load(&path).unwrap(), some());
    let before = std::fs::read(&path).unwrap();
    write(&path, &some());
    assert_eq!(std::fs::read(&path).unwrap(), before, "the same tensors give the same bytes");
    write(&path, &Tensors::new());
    assert!(load(&path).unwrap().is_empty());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing is left lying about");
}

#[cfg(unix)]
#[test]
fn weights_are_as_readable_as_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (weights, plain) = (folder.path().join("weights"), folder.path().join("plain"));
    write(&weights, &some());
    std::fs::write(&plain, "").unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&weights), mode(&plain));
}

#[test]
fn a_failed_write_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no such folder/weights.safetensors");
    let message = save(&missing, []).unwrap_err().to_string();
    assert!(message.contains("could not write") && message.contains("no such folder"), "{message}");
    let occupied = folder.path().join("folder");
    std::fs::create_dir(&occupied).unwrap();
    save(&occupied, []).unwrap_err();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
}

/// A safetensors file of one tensor.
fn raw(path: &Path, dtype: &str, shape: &str, bytes: &[u8]) {
    let header = format!(r#"{{"x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{}]}}}}"#, bytes.len());
    let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), bytes].concat();
    std::fs::write(path, file).unwrap();
}

#[test]
fn other_floats_become_f32() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let read = |dtype: &str, bytes: &[u8]| {
        raw(&path, dtype, "[2]", bytes);
        load(&path).map(|t| t["x"].f32().to_vec()).map_err(|e| e.to_string())
    };
    assert_eq!(read("F16", &[0x00, 0x3e, 0x00, 0xc0]).unwrap(), [1.5, -2.0]);
    assert_eq!(read("BF16", &[0xc0, 0x3f, 0x00, 0xc0]).unwrap(), [1.5, -2.0]);
    assert_eq!(read("F64", bytemuck::cast_slice(&[1.5_f64, -2.0])).unwrap(), [1.5, -2.0]);
    let message = read("I64", &[0; 16]).unwrap_err();
    assert!(message.contains("x.safetensors") && message.contains("\"x\"") && message.contains("I64"), "{message}");
}

#[test]
fn damaged_weights_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let message = load(&path).unwrap_err().to_string();
    assert!(message.contains("could not read"), "{message}");
    write(&path, &some());
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 4, 8, 40, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let message = load(&path).unwrap_err().to_string();
        assert!(message.contains("weights.safetensors") && message.contains("damaged"), "{message}");
    }
    std::fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
    load(&path).unwrap_err();
    raw(&path, "F32", "[3]", &[0; 8]);
    load(&path).unwrap_err();
    raw(&path, "F32", "[4611686018427387904, 4]", &[0; 8]);
    load(&path).unwrap_err();
}

#[test]
fn weights_that_do_not_fit_are_listed_in_one_error() {
    let shape = |dims: &[usize]| Shape::from(dims);
    let expected = vec![
        ("conv2d.weight".to_owned(), shape(&[2, 2])),
        ("scalar".to_owned(), shape(&[])),
        ("ids".to_owned(), shape(&[3])),
        ("dense.weight".to_owned(), shape(&[4, 2])),
        ("bytes".to_owned(), shape(&[5])),
    ];
    let message = expect("weights.safetensors", &some(), &expected).unwrap_err().to_string();
    let expected_message = "weights.safetensors: these weights do not fit the network; missing: \"dense.weight\" [4, 2]; \
                            of another shape: \"ids\" is i32[3], not f32[3], \"bytes\" is u8[1, 5], not f32[5]";
    assert_eq!(message, expected_message);
    let message = expect("w", &some(), &expected[..2]).unwrap_err().to_string();
    assert!(message.ends_with("not in the network: \"bytes\" [1, 5], \"ids\" [3]"), "{message}");
    let many: Vec<(String, Shape)> = (0..20).map(|i| (format!("layer{i}"), shape(&[1]))).collect();
    let message = expect("w", &Tensors::new(), &many).unwrap_err().to_string();
    assert!(message.contains("\"layer7\"") && !message.contains("layer8") && message.ends_with("12 more"), "{message}");
}

#[test]
fn weights_of_keras_fit_the_model_file() {
    let model = Model::open(keras("second.toml")).unwrap();
    let (initial, last) = (keras("second_initial.safetensors"), keras("second_final.safetensors"));
    for path in [&initial, &last] {
        expect(path, &load(path).unwrap(), &model.tensors().unwrap()).unwrap();
    }
    assert_ne!(load(initial).unwrap(), load(last).unwrap());
    let summary = model.summary().unwrap();
    // 2066 in Keras's count, of which 16 are running statistics.
    assert_eq!((summary.trained, summary.untrained), (2050, 16));
}
